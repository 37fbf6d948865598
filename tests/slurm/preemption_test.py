"""Jobs that are preempted, queued again, ended by their time limit, or lose a rank."""

import os
import re
import signal
import time

import batch
import support

setUpModule = batch.start_slurm


class Disturbed(batch.Jobs):
    ROUNDS = 3000

    def disturb(self, launcher, warning):
        """A job that is preempted, queued again, and comes to its time limit; Slurm warns it so many seconds before."""
        job = self.job(launcher, sbatch=("--ntasks=3", f"--nodes={len(batch.slurm.nodes)}", "--time=1",
                                         f"--signal=B:USR1@{warning}"),
                       FEDMPI=self.slowly(launcher), FEDMPI_LAUNCH=batch.LAUNCHERS[launcher])
        job.until_started(1, rounds=4)
        batch.slurm.run("scancel", "--signal=USR1", "--batch", job.number)
        job.until_started(2, rounds=4)
        batch.slurm.run("scontrol", "requeue", job.number)
        job.until_started(3, rounds=4)
        job.until_started(4, rounds=0)
        self.hurry(launcher)
        return job

    def test_ends_with_the_bits_of_a_run_that_nobody_disturbed(self):
        self.configure(self.ROUNDS, **{"client.batch": 1, "client.epochs": 2})
        expected = self.undisturbed()
        # Slurm looks at its time limits every 30 s. Without its warning the program has to stop by itself.
        by_warning, by_itself = support.together(
            [lambda: self.disturb("mpirun", warning=20), lambda: self.disturb("srun", warning=0)])
        for job, signals, limits in ((by_warning, 2, 0), (by_itself, 1, 1)):
            with self.subTest(job.run.name):
                self.assertEqual(job.sha256(), expected)
                log = job.text()
                # On a busy machine the last start may come to its time limit too.
                self.assertGreaterEqual(log.count("preempted by SIGUSR1"), signals, log)
                self.assertGreaterEqual(len(re.findall(r"^time limit: [\d.]+ s of [\d.]+ s used, .*--run.resume auto goes on$", log, re.MULTILINE)),
                                        limits, log)
                self.assertGreaterEqual(log.count("stopped early, to be queued again"), 2)
                self.assertGreaterEqual(log.count("going on after round"), 3)
                self.assertGreaterEqual(int(batch.slurm.show(job.number)["Restarts"]), 3)
                self.assert_whole_history(job, self.ROUNDS)

    def test_a_signal_to_the_ranks_alone(self):
        self.configure(self.ROUNDS)
        job = self.job("run", sbatch=["--ntasks=3"], FEDMPI_LAUNCH=batch.LAUNCHERS["srun"], FEDMPI_RESTARTS=0,
                       FEDMPI=self.slowly("run"))
        job.until_started(1, rounds=2)
        batch.slurm.run("scancel", "--signal=USR1", job.number)
        self.assertIn("not queued again after 0 restarts", job.ended(support.STOPPED))

    def test_a_rank_that_is_killed_takes_the_job_down(self):
        self.configure(10**6)
        jobs = {name: self.job(name, sbatch=["--ntasks=3"], FEDMPI_LAUNCH=launch)
                for name, launch in batch.LAUNCHERS.items()}
        for name, job in jobs.items():
            with self.subTest(name):
                job.until(lambda: job.rounds() > 0, "no round")
                processes = self.processes_of(job)
                # Not the processes that ranks have started.
                ranks = [number for number, parent in processes.items() if parent not in processes]
                self.assertEqual(len(ranks), 3)
                os.kill(max(ranks), signal.SIGKILL)
                killed = time.monotonic()
                self.assertEqual(job.wait()["JobState"], "FAILED")
                self.assertLess(time.monotonic() - killed, 10)
                self.assertEqual(self.processes_of(job), {})

    def processes_of(self, job):
        """The program's processes in this job, as {number: the parent's number}."""
        program, run = os.fsencode(support.PROGRAM), os.fsencode(job.run)
        return {number: parent for number, (_, parent, _) in support.processes().items()
                if (words := batch.command_of(number))[0] == program and run in words}

    def test_is_not_queued_again_for_ever(self):
        self.configure(10**6)
        job = self.job("run", "--stop.minutes", "0.01", FEDMPI_RESTARTS=0)
        self.assertIn("not queued again after 0 restarts", job.ended(support.STOPPED))
        self.assertNotIn("going on after round", job.text())
        job = self.job("run", "--stop.minutes", "0.01", sbatch=["--no-requeue"])
        self.assertIn("not queued again; to go on, submit the same job once more", job.ended(support.STOPPED))
        self.assertIn("going on after round", job.text())


if __name__ == "__main__":
    support.main()
