"""Jobs over two nodes: of one kind, of two kinds, with shards on the nodes' own disks, and with a node that is lost."""

import itertools
import sys
import time

import batch
import support

setUpModule = batch.start_slurm


class Nodes(batch.Jobs):
    TWO_BY_TWO = ("--nodes=2", "--ntasks=4", "--ntasks-per-node=2")

    def assert_ranks(self, job, *on):
        """Once a job that is slow has begun, it has so many on each node; it hurries then."""
        job.until_started(1, rounds=1)
        self.assertEqual(tuple(len(job.ranks(node)) for node in ("node1", "node2")), on)
        self.hurry(job.run.name)

    def test_two_nodes(self):
        self.two_nodes()
        expected = self.undisturbed()
        jobs = [self.job(name, sbatch=(*self.TWO_BY_TWO, "--cpus-per-task=2"), FEDMPI=self.slowly(name),
                         FEDMPI_LAUNCH=launch) for name, launch in batch.LAUNCHERS.items()]
        for job in jobs:
            with self.subTest(job.run.name):
                self.assert_ranks(job, 2, 2)
                self.assertEqual(job.sha256(), expected)
                self.assertRegex(job.text(), r"ranks +3 participants, .*; 2 threads each")
                self.assertIn("on node[1-2]:", job.text())

    def test_a_heterogeneous_job(self):
        self.two_nodes()
        self.configure(100)
        expected = self.undisturbed()
        components = ("--ntasks=1", "--nodelist=node1", "--mem=500", ":", "--ntasks=3", "--cpus-per-task=2",
                      "--nodelist=node2", "--mem=2000")
        job = self.job("run", sbatch=components, FEDMPI=self.slowly("run"), FEDMPI_STAGE=self.shards,
                       FEDMPI_LOCAL=batch.slurm.local)
        refused = self.job("refused", sbatch=components, FEDMPI_LAUNCH="mpirun")
        self.assert_ranks(job, 1, 3)
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
        self.assertIn("continuing after round", job.text())

    def test_no_rank_starts_before_all_others_listen(self):
        """An earlier message crashes the rank that it is sent to."""
        self.two_nodes()
        self.job("run", sbatch=("--nodes=2", "--ntasks=3"), FEDMPI_LAUNCH=batch.LAUNCHERS["srun"],
                 FEDMPI=f"{sys.executable} -B {batch.ROOT}/tests/slurm/starts.py {self.folder}").ended()
        started = [float((self.folder / str(rank)).read_text()) for rank in range(3)]
        self.assertGreater(min(started), float((self.folder / "went_on").read_text()))

    def assert_down(self, jobs, lost):
        """On all nodes, within 10 s of the loss."""
        while any(job.ranks() for job in jobs):
            self.assertLess(time.monotonic() - lost, 10, "\n".join(job.text() for job in jobs))
            time.sleep(0.05)

    def kill_all_of(self, job, node):
        """Its processes there, and Slurm's daemons for it."""
        started = job.processes(node)
        daemons = {parent for _, parent, _ in started.values()} - set(started)
        self.assertTrue(daemons and all(batch.command_of(d)[0].startswith(b"slurmstepd: ") for d in daemons))
        for number in (*daemons, *started):
            support.Started.kill_one(number)

    def test_a_node_whose_daemons_are_lost_takes_the_job_down(self):
        """For Slurm the step there goes on; what the script has to tidy up does not wait for it."""
        self.two_nodes()
        self.configure(10**6)
        for name, launch in batch.LAUNCHERS.items():
            with self.subTest(name):
                job = self.job(name, sbatch=self.TWO_BY_TWO, FEDMPI_LAUNCH=launch, FEDMPI_RESTARTS=0)
                job.until(lambda: job.rounds() > 0, "no round")
                self.kill_all_of(job, "node2")
                lost = time.monotonic()
                self.assert_down([job], lost)
                self.assertEqual(job.wait()["JobState"], "FAILED")
                self.assertLess(time.monotonic() - lost, 20)
                if name == "srun":
                    self.assertRegex(job.text(), "(fedmpi: rank 0|train.sbatch): .*lost the connection to ")
                self.assertNotIn("weights sha256", job.text())

    def test_a_rank_that_dies_on_another_node_takes_the_job_down(self):
        """Nobody takes that for the loss of its node, also where it was alone there: it would die again."""
        self.two_nodes()
        self.configure(10**6)
        layouts = {"others": self.TWO_BY_TWO, "alone": ("--nodes=2", "--ntasks=2", "--ntasks-per-node=1")}
        for (name, launch), layout in itertools.product(batch.LAUNCHERS.items(), layouts):
            with self.subTest(name, layout=layout):
                job = self.job(f"{name}-{layout}", sbatch=layouts[layout], FEDMPI_LAUNCH=launch)
                job.until(lambda: job.rounds() > 0, "no round")
                support.Started.kill_one(max(set(job.ranks()) & set(job.processes("node2"))))
                lost = time.monotonic()
                self.assert_down([job], lost)
                self.assertEqual(job.wait()["JobState"], "FAILED")
                self.assertLess(time.monotonic() - lost, 20)
                self.assertNotIn("to be queued again", job.text())
                self.assertNotIn("or the network is gone", job.text())

    def test_a_node_that_is_shut_down_has_the_job_queued_again(self):
        """Connections to it are closed before Slurm knows of its end."""
        self.two_nodes()
        self.configure(200)
        expected = self.undisturbed()
        job = self.job("run", sbatch=self.TWO_BY_TWO, FEDMPI_LAUNCH=batch.LAUNCHERS["srun"], FEDMPI=self.slowly("run"))
        job.until_started(1, rounds=4)
        batch.slurm.stop_node("node2")
        self.kill_all_of(job, "node2")
        self.assert_down([job], time.monotonic())
        job.until(lambda: "stopped early, to be queued again" in job.text(), "not queued again")
        self.hurry("run")
        batch.slurm.start_node("node2")
        self.assertEqual(job.sha256(), expected)
        self.assertIn("continuing after round", job.text())

    def test_a_node_that_is_cut_off_takes_the_job_down_which_goes_on_later(self):
        """Within 10 s, also where ranks give signs of life, which TCP then repeats for minutes."""
        self.two_nodes()
        self.configure(200)
        expected = self.undisturbed()
        jobs = [self.job(name, *words, sbatch=self.TWO_BY_TWO, FEDMPI_LAUNCH=batch.LAUNCHERS[name], FEDMPI=self.slowly(name))
                for name, words in (("srun", []), ("mpirun", ["--federation.deadline", "15"]))]
        for job in jobs:
            job.until_started(1, rounds=4)
            self.assertEqual(len(job.ranks()), 4)
        batch.slurm.connect("node2", False)
        self.addCleanup(batch.slurm.connect, "node2", True)
        self.assert_down(jobs, time.monotonic())
        for job in jobs:
            job.until(lambda: "stopped early, to be queued again" in job.text(), "not queued again")
            self.assertRegex(job.text(), r"fedmpi: rank 0: lost the connection to rank \d on node2, rank \d on node2: ")
            self.hurry(job.run.name)
        batch.slurm.connect("node2", True)
        for job in jobs:
            self.assertEqual(job.sha256(), expected)
            self.assertIn("continuing after round", job.text())

    def folders(self, job):
        """What it has on the nodes' own disks and in their memory."""
        return batch.slurm.run("srun", f"--nodes={len(batch.slurm.nodes)}", "find", batch.slurm.local, "/dev/shm",
                               "-maxdepth", 1, "-name", f"fedmpi-{job.number}*").split()

    def staged(self, name, *words, **more):
        return self.job(name, *words, sbatch=(f"--nodes={len(batch.slurm.nodes)}", "--ntasks=3"), FEDMPI_STAGE=self.shards,
                        FEDMPI_LOCAL=batch.slurm.local, **more)

    def test_shards_on_the_nodes_own_disks(self):
        expected = self.undisturbed()
        job = self.staged("run", "--data.shards", self.shards)
        self.assertEqual(job.sha256(), expected)
        config = (job.run / "config.ini").read_text()
        self.assertIn(f"shards = {batch.slurm.local}/fedmpi-{job.number}-0\n", config)
        self.assertEqual(self.folders(job), [])
        refused = self.job("refused", FEDMPI_STAGE=self.folder / "nowhere", FEDMPI_LOCAL=batch.slurm.local)
        self.assertIn("FEDMPI_STAGE", refused.ended(support.USAGE))

    def test_a_job_that_is_cancelled_leaves_nothing_on_its_nodes(self):
        self.configure(10**6)
        for name, launch in batch.LAUNCHERS.items():
            with self.subTest(name):
                job = self.staged(name, FEDMPI_LAUNCH=launch)
                job.until(lambda: job.rounds() > 0, "no round")
                self.assertEqual(len(self.folders(job)), 2 * len(batch.slurm.nodes))
                batch.slurm.run("scancel", job.number)
                cancelled = time.monotonic()
                while left := self.folders(job):
                    self.assertLess(time.monotonic() - cancelled, 10, left)
                job.wait("CANCELLED")


if __name__ == "__main__":
    support.main()
