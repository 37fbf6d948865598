"""Jobs over two nodes: of one kind, of two kinds, with shards on the nodes' own disks, and with a node that is lost."""

import os
import signal
import time

import batch
import support

setUpModule = batch.start_slurm


class Nodes(batch.Jobs):
    def test_two_nodes(self):
        self.two_nodes()
        expected = self.undisturbed()
        jobs = [self.job(name, sbatch=("--nodes=2", "--ntasks=4", "--ntasks-per-node=2", "--cpus-per-task=2"),
                         FEDMPI_LAUNCH=launch) for name, launch in batch.LAUNCHERS.items()]
        for job in jobs:
            with self.subTest(job.run.name):
                self.assertEqual(job.sha256(), expected)
                self.assertRegex(job.text(), r"ranks +3 participants, .*; 2 threads each")
                self.assertIn("on node[1-2]:", job.text())

    def test_a_heterogeneous_job(self):
        self.two_nodes()
        self.configure(100)
        expected = self.undisturbed()
        components = ("--ntasks=1", "--nodelist=node1", "--mem=500", ":", "--ntasks=3", "--cpus-per-task=2",
                      "--nodelist=node2", "--mem=2000")
        job = self.job("run", sbatch=components, FEDMPI_STAGE=self.shards, FEDMPI_LOCAL=batch.slurm.local)
        refused = self.job("refused", sbatch=components, FEDMPI_LAUNCH="mpirun")
        self.assertEqual(job.sha256(), expected)
        self.assertRegex(job.text(), r"ranks +3 participants, .*; 2 threads each")
        self.assertIn("expected srun --mpi=pmix for a heterogeneous job, found mpirun", refused.ended(support.USAGE))

    def test_a_heterogeneous_job_is_queued_again_as_a_whole(self):
        self.two_nodes()
        self.configure(200)
        expected = self.undisturbed()
        job = self.job("run", sbatch=("--ntasks=1", "--nodelist=node1", ":", "--ntasks=2", "--nodelist=node2"),
                       FEDMPI=self.slowly("run"))
        job.until_started(1, rounds=3)
        batch.slurm.run("scancel", "--signal=USR1", "--batch", job.number)
        # Where nothing else happens Slurm does not look at waiting heterogeneous jobs again.
        def started_again():
            batch.slurm.run("srun", "--ntasks=1", "true")
            return job.text().count("train.sbatch: job ") == 2

        job.until(started_again, "no second start")
        self.hurry("run")
        self.assertEqual(job.sha256(), expected)
        self.assertIn("going on after round", job.text())

    def test_a_node_whose_daemons_are_lost_takes_the_job_down(self):
        """For Slurm the step there goes on; what the script has to tidy up does not wait for it."""
        self.two_nodes()
        self.configure(10**6)
        job = self.job("run", sbatch=["--ntasks=3", "--nodes=2"], FEDMPI_LAUNCH=batch.LAUNCHERS["mpirun"])
        job.until(lambda: job.rounds() > 0, "no round")
        # Step 0 was the script's own. In the session of step 1 is mpirun's daemon on the other node.
        title = os.fsencode(f"slurmstepd: [{job.number}.1]")
        running = support.processes()
        sessions = {session for number, (session, _, _) in running.items() if batch.command_of(number)[0] == title}
        victims = [number for number, (session, _, _) in running.items() if session in sessions]
        self.assertGreater(len(victims), 1)
        for number in victims:
            os.kill(number, signal.SIGKILL)
        lost = time.monotonic()
        self.assertEqual(job.wait()["JobState"], "FAILED", job.text())
        self.assertLess(time.monotonic() - lost, 10)

    def test_shards_on_the_nodes_own_disks(self):
        expected = self.undisturbed()
        staged = {"FEDMPI_STAGE": self.shards, "FEDMPI_LOCAL": batch.slurm.local}
        job = self.job("run", sbatch=(f"--nodes={len(batch.slurm.nodes)}", "--ntasks=3"), **staged)
        self.assertEqual(job.sha256(), expected)
        config = (job.run / "config.ini").read_text()
        self.assertIn(f"shards = {batch.slurm.local}/fedmpi-{job.number}\n", config)
        left = batch.slurm.run("srun", f"--nodes={len(batch.slurm.nodes)}", "ls", batch.slurm.local)
        self.assertEqual(left, "", "left behind on a node")
        refused = self.job("refused", FEDMPI_STAGE=self.folder / "nowhere", FEDMPI_LOCAL=batch.slurm.local)
        self.assertIn("FEDMPI_STAGE", refused.ended(support.USAGE))


if __name__ == "__main__":
    support.main()
