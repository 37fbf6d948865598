"""Jobs that are preempted, queued again, ended by their time limit, or lose a rank."""

import csv
import os
import re
import signal
import time

import batch
import support
from survive_test import recovering

setUpModule = batch.start_slurm


class Disturbed(batch.Jobs):
    ROUNDS = int(3000 / support.SLOWER)

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
        told, times = ("preempted by SIGUSR1", 2) if warning else ("time limit: ", 1)
        job.until(lambda: job.text().count(told) >= times, "no end of its time", 100)
        self.hurry(launcher)  # a rank that is still slow as it leaves is killed by srun
        job.until_started(4, rounds=0)
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
                self.assertGreaterEqual(log.count("continuing after round"), 3)
                self.assertGreaterEqual(int(batch.slurm.show(job.number)["Restarts"]), 3)
                self.assert_whole_history(job, self.ROUNDS)

    def test_a_more_urgent_job(self):
        """Slurm then sends SIGTERM to the ranks, and queues the job again once its grace time is over."""
        self.configure(200, **{"run.checkpoint-every": 1})
        expected = self.undisturbed()
        for name, launch in batch.LAUNCHERS.items():
            with self.subTest(name):
                job = self.job(name, sbatch=["--ntasks=3"], FEDMPI=self.slowly(name), FEDMPI_LAUNCH=launch)
                job.until_started(1, rounds=4)
                urgent = batch.slurm.submit("--partition=urgent", f"--nodes={len(batch.slurm.nodes)}", "--exclusive",
                                            "--output=/dev/null", "--wrap=sleep 1")
                batch.slurm.wait(urgent)
                job.until(lambda: job.text().count("train.sbatch: job ") == 2, "no second start", 100)
                self.hurry(name)
                self.assertEqual(job.sha256(), expected)
                self.assertGreaterEqual(int(re.search(r"continuing after round (\d+)", job.text())[1]), 2)  # of 3 and more
                self.assert_whole_history(job, 200)

    def test_a_more_urgent_job_while_shards_are_copied(self):
        self.configure(20)
        expected = self.undisturbed()
        slow = self.folder / "bin"
        slow.mkdir()
        (slow / "cp").write_text(f'#!/bin/sh\nuntil [ -e {self.folder}/copy ]; do sleep 0.1; done\nexec /bin/cp "$@"\n')
        (slow / "cp").chmod(0o755)
        setup = self.folder / "setup.sh"
        setup.write_text(f"export PATH={slow}:$PATH\n")
        job = self.job("run", sbatch=["--ntasks=3"], FEDMPI_SETUP=setup, FEDMPI_STAGE=self.shards,
                       FEDMPI_LOCAL=batch.slurm.local)
        job.until(lambda: "cp" in [name for _, _, name in job.processes().values()], "no copying")
        urgent = batch.slurm.submit("--partition=urgent", f"--nodes={len(batch.slurm.nodes)}", "--exclusive",
                                    "--output=/dev/null", "--wrap=sleep 1")
        batch.slurm.wait(urgent)
        (self.folder / "copy").touch()
        self.assertEqual(job.sha256(), expected)
        self.assertIn("cannot be copied to", job.text())
        self.assertIn("stopped early, to be queued again", job.text())

    def test_a_signal_to_the_ranks_alone(self):
        self.configure(self.ROUNDS)
        job = self.job("run", sbatch=["--ntasks=3"], FEDMPI_LAUNCH=batch.LAUNCHERS["srun"], FEDMPI_RESTARTS=0,
                       FEDMPI=self.slowly("run"))
        job.until_started(1, rounds=2)
        batch.slurm.run("scancel", "--signal=USR1", job.number)
        log = job.ended(support.STOPPED)
        self.assertIn("not queued again after 0 restarts", log)
        self.assertNotIn("User defined signal", log)  # which would end the step that waits to tidy up

    def test_a_rank_that_is_killed_takes_the_job_down(self):
        self.configure(10**6)
        for rank in (0, 2):
            jobs = {name: self.job(f"{name}-{rank}", sbatch=["--ntasks=3"], FEDMPI_LAUNCH=launch, FEDMPI_RESTARTS=0)
                    for name, launch in batch.LAUNCHERS.items()}
            for name, job in jobs.items():
                with self.subTest(name, rank=rank):
                    job.until(lambda: job.rounds() > 0, "no round")
                    ranks = job.ranks()
                    self.assertEqual(len(ranks), 3)
                    os.kill(next(n for n in ranks if f"PMIX_RANK={rank}" in batch.environment_of(n)), signal.SIGKILL)
                    killed = time.monotonic()
                    self.assertEqual(job.wait()["JobState"], "FAILED")
                    self.assertLess(time.monotonic() - killed, 10)
                    self.assertEqual(job.processes(), {})
                    if name == "mpirun" or rank == 0:  # a busy srun may be slower than the other ranks
                        self.assertNotIn("stopped early", job.text())

    def test_a_rank_that_stands_still_has_the_job_queued_again(self):
        self.configure(10**6, **{"federation.deadline": 5})
        jobs = {(name, rank): self.job(f"{name}-{rank}", sbatch=["--ntasks=3"], FEDMPI_LAUNCH=launch, FEDMPI_RESTARTS=0)
                for name, launch in batch.LAUNCHERS.items() for rank in (0, 2)}
        for (name, rank), job in jobs.items():
            with self.subTest(name, rank=rank):
                job.until(lambda: job.rounds() > 0, "no round")
                os.kill(next(n for n in job.ranks() if f"PMIX_RANK={rank}" in batch.environment_of(n)), signal.SIGSTOP)
        for (name, rank), job in jobs.items():
            with self.subTest(name, rank=rank):
                log = job.ended(support.STOPPED)
                self.assertIn("not queued again after 0 restarts", log)
                self.assertRegex(log, f"(no sign of life|no answer) from rank {rank} ")
                self.assertEqual(job.processes(), {})

    def test_goes_on_from_a_named_checkpoint_and_then_from_its_own(self):
        self.configure(200, **{"run.allow": "federation.rounds"})
        expected = self.undisturbed()
        self.train("before", {**self.options, "federation.rounds": 10}, ranks=2)
        self.configure(200, **{"run.allow": "federation.rounds", "run.resume": self.folder / "before" / "latest.h5"})
        job = self.job("run", sbatch=["--ntasks=3"], FEDMPI=self.slowly("run"))
        job.until(lambda: job.rounds() >= 14, "no rounds of its own")  # ten are of the run before
        batch.slurm.run("scancel", "--signal=USR1", "--batch", job.number)
        job.until_started(2, rounds=0)
        self.hurry("run")
        self.assertEqual(job.sha256(), expected)
        first, second = map(int, re.findall(r"continuing after round (\d+)", job.text()))
        self.assertEqual(first, 10)
        self.assertGreater(second, 10)
        self.assert_whole_history(job, 200)

    def test_a_launcher_that_lives_with_dead_ranks(self):
        """And which has no exit code for a run that was stopped early."""
        self.configure(200, **{"federation.survive": "on", "federation.deadline": 5})
        expected = self.undisturbed()
        job = self.job("run", sbatch=["--ntasks=3"], FEDMPI_LAUNCH=" ".join(["mpirun", *recovering()]),
                       FEDMPI=self.slowly("run"))
        job.until_started(1, rounds=4)
        batch.slurm.run("scancel", "--signal=USR1", "--batch", job.number)
        job.until_started(2, rounds=0)
        self.hurry("run")
        self.assertEqual(job.sha256(), expected)
        self.assertIn("continuing after round", job.text())

    def test_a_launcher_that_lives_with_dead_ranks_goes_on_without_one(self):
        self.configure(200, **{"federation.survive": "on", "federation.deadline": 5})
        job = self.job("run", sbatch=["--ntasks=4"], FEDMPI_LAUNCH=" ".join(["mpirun", *recovering()]),
                       FEDMPI=self.slowly("run"))
        job.until_started(1, rounds=4)
        os.kill(next(n for n in job.ranks() if "PMIX_RANK=2" in batch.environment_of(n)), signal.SIGKILL)
        self.hurry("run")
        self.assertIn("all 200 rounds done", job.ended())
        self.assertRegex(job.text(), "rank 2 did not answer in round")

    def test_of_an_array_the_task_that_was_warned_is_queued_again(self):
        """Also the task whose number is that of the whole array; and in a folder whose name has a blank."""
        self.configure(200)
        folder = self.folder / "a sweep"
        array = batch.Job(self, "array", self.config, folder, script="sweep.sbatch",
                          sbatch=["--array=1-3", "--ntasks=2"], FEDMPI=self.slowly("array"))
        tasks = {task: f"{array.number}_{task}" for task in (1, 2, 3)}
        array.until(lambda: all((folder / str(task) / "history.csv").exists() for task in tasks), "no round")
        numbers = {task: batch.slurm.show(name)["JobId"] for task, name in tasks.items()}
        warned = next(task for task, number in numbers.items() if number == array.number)
        batch.slurm.run("scancel", "--signal=USR1", "--batch", tasks[warned])
        array.until(lambda: array.text().count("train.sbatch: job ") == 4, "no start 2")
        self.hurry("array")
        for task, name in tasks.items():
            with self.subTest(task, warned=warned):
                fields = batch.slurm.wait(name)
                self.assertEqual((fields["ExitCode"], fields["Restarts"]), ("0:0", "1" if task == warned else "0"))
        with open(folder / "sweep.csv", newline="") as file:
            self.assertEqual([(row["task"], row["exit"], row["round"]) for row in csv.DictReader(file)],
                             [(str(task), "0", "200") for task in tasks])

    def test_is_not_queued_again_for_ever(self):
        self.configure(10**6)
        job = self.job("run", "--stop.minutes", "0.01", FEDMPI_RESTARTS=0)
        self.assertIn("not queued again after 0 restarts", job.ended(support.STOPPED))
        self.assertNotIn("continuing after round", job.text())
        job = self.job("run", "--stop.minutes", "0.01", sbatch=["--no-requeue"])
        self.assertIn("not queued again; to go on, submit the same job once more", job.ended(support.STOPPED))
        self.assertIn("continuing after round", job.text())


if __name__ == "__main__":
    support.main()
