"""Sweeps, jobs that cannot work, and what a job's log looks like."""

import csv
import datetime
import os
import re
import shutil
import time

import batch
import support

setUpModule = batch.start_slurm


class Sweeps(batch.Jobs):
    def table(self, folder):
        with open(folder / "sweep.csv", newline="") as file:
            return list(csv.DictReader(file))

    def test_four_seeds_and_four_lines_of_options(self):
        rates = [0.01, 0.02, 0.04, 0.08]
        lines = self.folder / "rates.txt"
        lines.write_text("".join(f"--client.lr {rate} --client.epochs 2\n" for rate in rates))
        sweep = {"script": "sweep.sbatch", "sbatch": ["--array=1-4", "--ntasks=2"]}
        seeds, options = self.folder / "seeds", self.folder / "rates"
        jobs = [batch.Job(self, "seeds", self.config, seeds, **sweep),
                batch.Job(self, "rates", self.config, options, lines, **sweep)]
        for job in jobs:
            for task in range(1, 5):
                batch.slurm.wait(f"{job.number}_{task}")
        for i, rows in enumerate(zip(self.table(seeds), self.table(options))):
            with self.subTest(task=i + 1):
                by_seed, by_rate = rows
                self.assertEqual([row["task"] for row in rows], [str(i + 1)] * 2)
                self.assertEqual([row["exit"] for row in rows], ["0"] * 2)
                self.assertEqual([row["round"] for row in rows], ["20"] * 2)
                self.assertEqual(by_seed["options"], f"--federation.seed {i + 1}")
                self.assertEqual(by_rate["options"], f"--client.lr {rates[i]} --client.epochs 2")
                self.train(f"alone-{i}", {**self.options, "federation.seed": i + 1}, ranks=2)
                for column in ("train_loss", "test_loss"):
                    self.assertAlmostEqual(float(by_seed[column]), self.history(f"alone-{i}")[column][-1], 6)
        self.assertEqual(len(self.table(seeds)), 4)
        self.assertEqual(len(self.table(options)), 4)
        self.assertEqual(len({row["train_loss"] for row in self.table(seeds)}), 4)

    def test_a_sweep_that_was_asked_for_wrongly(self):
        alone = batch.Job(self, "alone", self.config, self.folder / "sweep", script="sweep.sbatch")
        self.assertIn("expected a job array", alone.ended(support.USAGE))
        lines = self.folder / "lines.txt"
        lines.write_text("--client.lr 0.1\n")
        longer = batch.Job(self, "longer", self.config, self.folder / "sweep", lines, script="sweep.sbatch",
                     sbatch=["--array=2"])
        self.assertIn("expected options in line 2", longer.ended(support.USAGE))


class Refused(batch.Jobs):
    def diagnostics(self, job, code):
        # Open MPI 5 ends what it has to say with a space.
        lines = [line for line in map(str.strip, job.ended(code).splitlines()) if line.startswith("fedmpi: ")]
        self.assertEqual(len(lines), 1, job.text())
        self.assertNotIn("train loss", job.text())
        return lines[0]

    def test_a_missing_shard_ends_the_job_in_ten_seconds_with_one_line(self):
        nowhere = self.folder / "nowhere"
        file = self.shards / "shard-00001.h5"
        wrong = {"folder": ["--data.shards", nowhere], "file": ["--data.shards", nowhere / "a.h5"],
                 "test": ["--data.test", nowhere / "test.h5"]}

        for name, launch in batch.LAUNCHERS.items():
            for what, words in wrong.items():
                with self.subTest(what, launcher=name):
                    job = self.job(f"{name}-{what}", *words, sbatch=["--ntasks=3"], FEDMPI_LAUNCH=launch)
                    fields = job.wait()
                    began, ended = (datetime.datetime.fromisoformat(fields[f"{at}Time"]) for at in ("Start", "End"))
                    self.assertLess((ended - began).total_seconds(), 10)
                    self.assertIn(str(nowhere), self.diagnostics(job, support.BAD_DATA))
                    self.assertFalse(job.run.exists())
        file.unlink()
        job = self.job("gap", sbatch=["--ntasks=2"])
        self.assertIn("shard-00001.h5", self.diagnostics(job, support.BAD_DATA))

    def test_what_a_dry_run_finds(self):
        readonly = self.folder / "file"
        readonly.touch()
        cases = (
            (support.BAD_DATA, "nowhere", ["--data.shards", self.folder / "nowhere"], ["--ntasks=2"], {}),
            (support.USAGE, "idle would be rank 10", [], ["--ntasks=11"], {}),
            (support.CANNOT_CREATE, "run.dir", ["--run.dir", readonly / "run"], ["--ntasks=2"], {}),
            (support.USAGE, "of memory for the examples", [], ["--ntasks=2", "--mem=1"], {}),
            (support.USAGE, "of memory for the model", ["--model.kind", "mlp", "--model.hidden", "3000,3000"],
             ["--ntasks=2", "--mem=150"], {}),
        )
        jobs = [self.job(f"dry-{i}", *words, "--dry-run", sbatch=sbatch, **exports)
                for i, (_, _, words, sbatch, exports) in enumerate(cases)]
        for job, (code, expected, *_) in zip(jobs, cases):
            with self.subTest(expected):
                self.assertIn(expected, self.diagnostics(job, code))
                self.assertFalse(job.run.exists(), "a dry run leaves nothing")
        whole = self.job("whole", "--dry-run", sbatch=["--ntasks=3"])
        self.assertRegex(whole.ended(), r"ranks +2 participants")
        self.assertNotIn("train loss", whole.text())
        self.assertFalse(whole.run.exists())

    def test_what_the_script_finds(self):
        job = batch.Job(self, "words")
        self.assertIn("expected the configuration file, found nothing", job.ended(support.USAGE))
        job = self.job("program", FEDMPI=self.folder / "nothing")
        self.assertIn("FEDMPI: expected a program, found none", job.ended(support.USAGE))
        job = self.job("setup", FEDMPI_SETUP=self.folder / "nothing")
        self.assertIn("FEDMPI_SETUP", job.ended(support.USAGE))

    def test_mpirun_where_slurm_has_no_pmix(self):
        srun = self.folder / "bin" / "srun"
        srun.parent.mkdir()
        srun.write_text(f'#!/bin/sh\n[ "$*" != --mpi=list ] || exec echo none cray_shasta\nexec {shutil.which("srun")} "$@"\n')
        srun.chmod(0o755)
        setup = self.folder / "setup.sh"
        setup.write_text(f"export PATH={srun.parent}:$PATH\n")
        job = self.job("run", sbatch=["--ntasks=3"], FEDMPI_SETUP=setup)
        self.assertIn("all 20 rounds done", job.ended())
        self.assertRegex(job.text(), "(?m)^train.sbatch: job .*: mpirun ")

    def test_the_ranks_see_what_the_script_sees(self):
        """Also where the job itself was given some variables only."""
        variables = [f"FEDMPI={support.PROGRAM}"]
        variables += [f"{name}={os.environ[name]}" for name in ("ASAN_OPTIONS", "TSAN_OPTIONS") if name in os.environ]
        job = self.job("run", sbatch=["--ntasks=2", f"--export={','.join(variables)}"])
        self.assertIn("all 20 rounds done", job.ended())


class Watched(batch.Jobs):
    def test_a_program_that_becomes_another_is_left_alone(self):
        """As a script does that loads modules first. For the job it is still there."""
        wrapper = self.folder / "wrapper"
        wrapper.write_text('#!/bin/sh\nsleep 2\nexec "$@"\n')
        wrapper.chmod(0o755)
        self.configure(100)
        job = self.job("run", sbatch=["--ntasks=3"], FEDMPI_LAUNCH=batch.LAUNCHERS["mpirun"],
                       FEDMPI=f"{wrapper} {self.slowly('run')}")
        job.until_started(1, rounds=1)
        time.sleep(13)  # it is given 10 s once no rank is seen
        self.hurry("run")
        self.assertIn("all 100 rounds done", job.ended())

    def test_a_launcher_that_does_not_end_is_not_waited_for(self):
        launcher = self.folder / "launcher"
        launcher.write_text('#!/bin/sh\nmpirun "$@"\nexec sleep 1000\n')
        launcher.chmod(0o755)
        jobs = {code: self.job(f"run-{code}", *words, sbatch=["--ntasks=3"], FEDMPI_LAUNCH=launcher)
                for code, words in ((support.DONE, []), (support.BAD_DATA, ["--data.shards", self.folder / "nowhere"]))}
        for code, job in jobs.items():
            self.assertIn("rank 0 has ended, but", job.ended(code))
        self.assertIn("all 20 rounds done", jobs[support.DONE].text())


class Logs(batch.Jobs):
    def test_a_line_per_round_nothing_but_text_and_a_summary(self):
        setup = self.folder / "setup.sh"
        setup.write_text("[[ $# -eq 0 ]] || exit 9\nset -- words of its own\n")
        job = self.job("run", sbatch=["--ntasks=3"], FEDMPI_SETUP=setup)
        log = job.ended()
        self.assertEqual(re.findall(r"^round +(\d+) .* s$", log, re.MULTILINE), [str(i) for i in range(21)])
        self.assertNotRegex(log, r"[^\n\x20-\x7e]")
        self.assertNotRegex(log, r"(?m)^(srun|slurmstepd|bash|sh|tail)")
        self.assertRegex(log, r"(?m)^[\d.]+ s in rounds: training [\d.]+, evaluation")
        self.assertRegex(log, r"(?m)^[\d.]+ s in this job: [\d.]+ before its first round, [\d.]+ in 20 rounds")


if __name__ == "__main__":
    support.main()
