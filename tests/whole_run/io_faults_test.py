"""Every file operation of a short run made to fail once: none crashes or hangs it, what it leaves is whole, and going
on from there ends with the same bits. The library that does it is tests/faults/fail_io.cpp. With FEDMPI_LONG=1 each
operation fails in every way, else in one of them."""

import collections
import os
import pathlib
import re
import shutil
import subprocess
import unittest

import numpy as np

import support

LIBRARY = os.environ.get("FEDMPI_FAIL_IO", "")  # none where the program is built with a sanitizer
REFUSED = {support.BAD_DATA, support.CANNOT_CREATE, 74}  # what an error may end a run with
HOW = ("ENOSPC", "EIO", "short")


@unittest.skipUnless(LIBRARY, "a sanitizer has to be loaded before all other libraries")
class OneFailure(support.WholeRun):
    def setUp(self):
        super().setUp()
        self.shards = self.shard("synthetic:0.5,0.5", clients=3, holdout=0.2)
        self.options = {"data.shards": self.shards, "data.test": self.shards / "test.h5", "federation.rounds": 4,
                        "run.checkpoint-every": 2, "server.optimizer": "momentum"}

    def start(self, words, fail=0, how="", log=""):
        """A process alone: its operations come in the same order every time. Without the daemon that Open MPI 4 starts
        beside it, which would take as long as the run."""
        environment = {**support.environment(), "LD_PRELOAD": LIBRARY, "FEDMPI_IO_FOLDER": f"{self.folder}/",
                       "FEDMPI_IO_FAIL": str(fail), "FEDMPI_IO_HOW": how, "OMPI_MCA_ess_singleton_isolated": "1"}
        if log:
            environment["FEDMPI_IO_LOG"] = str(log)
        return subprocess.run([support.PROGRAM, *map(str, words)], env=environment, capture_output=True, text=True,
                              timeout=20, check=False)

    def operations(self, words):
        log = pathlib.Path(f"{self.folder}.log")
        self.addCleanup(log.unlink, missing_ok=True)
        ended = self.start(words, log=log)
        self.assertEqual(ended.returncode, 0, ended.stderr)
        # The processes that probe files count for themselves.
        names = dict(line.split()[:2] for line in log.read_text().splitlines())
        self.assertGreater(len(names), 50)
        return [names[str(number)] for number in range(1, len(names) + 1)]

    def words(self, run, **more):
        return ["train", *support.words_of({**self.options, "run.dir": self.folder / run, **more})]

    def attempt_all(self, operations, attempt):
        def ways(at, name):
            every = HOW if "read" in name or "write" in name else HOW[:2]  # nothing else is done by half
            return every if os.environ.get("FEDMPI_LONG") == "1" else [every[at % len(every)]]

        support.together([lambda at=at, how=how: attempt(at, how) for at, name in enumerate(operations, 1)
                          for how in ways(at, name)])

    def contents(self, folder):
        """Name and contents of each file that has the name of a shard."""
        return {path.name: tuple(map(str, map(np.ndarray.tolist, support.read_shard(path)[:2])))
                for path in folder.glob("*.h5")}

    def attack(self, prepare=lambda folder: None, **more):
        """Each operation of a run fails in its turn; then the run goes on undisturbed."""
        prepare(self.folder / "reference")
        operations = self.operations(self.words("reference", **more))
        n = len(operations)
        reference = self.train("undisturbed", self.options).sha256
        ends = collections.Counter()

        def attempt(at, how):
            run = f"run-{at}-{how}"
            folder = self.folder / run
            prepare(folder)
            ended = self.start(self.words(run, **more), at, how)
            what = f"operation {at} of {n} fails with {how}: exit code {ended.returncode}\n{ended.stderr}"
            lines = [line for line in ended.stderr.splitlines() if line.startswith("fedmpi: ")]
            if ended.returncode == 0:
                self.assertIn(reference, ended.stdout, what)
                self.assertEqual(lines, [], what)
                self.assertTrue((folder / "checkpoint-000004.h5").exists(), what)
            else:
                self.assertIn(ended.returncode, REFUSED, what)
                self.assertNotEqual(how, "short", what)
                self.assertEqual(len(lines), 1, what)
            resumed = self.start(self.words(run, **{"run.resume": "auto"}))
            self.assertEqual(resumed.returncode, 0, f"{what}\n{resumed.stderr}")
            self.assertIn(reference, resumed.stdout, what)
            self.assertNotIn("expected", resumed.stderr, what)  # a file that is not what its name says
            table = (folder / "history.csv").read_text()
            self.assertEqual(table.count("\n"), 6, f"{what}\n{table}")
            shutil.rmtree(folder)
            ends[ended.returncode] += 1

        self.attempt_all(operations, attempt)
        self.assertGreater(ends[0], n / 3)
        self.assertGreater(ends[support.CANNOT_CREATE], 0)

    def test_of_a_run(self):
        self.attack()

    def test_of_a_run_that_goes_on(self):
        """From the newest of two checkpoints, or the one before."""
        self.train("begun", {**self.options, "federation.rounds": 3})
        self.attack(lambda folder: shutil.copytree(self.folder / "begun", folder, symlinks=True),
                    **{"run.resume": "auto"})

    def test_of_making_shards(self):
        words = ["shard", "synthetic:0.5,0.5", "--clients", 3, "--holdout", 0.2, "--files", "client", "--out"]
        operations = self.operations([*words, self.folder / "reference"])
        n = len(operations)
        expected = self.contents(self.folder / "reference")

        def attempt(at, how):
            out = self.folder / f"out-{at}-{how}"
            ended = self.start([*words, out], at, how)
            what = f"operation {at} of {n} fails with {how}: exit code {ended.returncode}\n{ended.stderr}"
            if ended.returncode == 0:
                self.assertEqual(self.contents(out), expected, what)
            else:
                self.assertIn(ended.returncode, REFUSED, what)
                self.assertNotEqual(how, "short", what)
                self.assertEqual(len(re.findall("^fedmpi: ", ended.stderr, re.MULTILINE)), 1, what)
                self.assertTrue(expected.items() >= self.contents(out).items(), what)
            shutil.rmtree(out, ignore_errors=True)

        self.attempt_all(operations, attempt)


if __name__ == "__main__":
    support.main()
