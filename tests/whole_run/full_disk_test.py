"""A run directory that cannot be written, from the start or later: refused at once, or borne for as many rounds as lie
between two checkpoints; what was saved before stays whole. And too little room for memory that ranks share."""

import itertools
import os
import subprocess
import unittest

import support

LIBRARY = os.environ.get("FEDMPI_FAIL_IO", "")  # none where the program is built with a sanitizer
EVERY = 3
NOT_SAVED = {support.CANNOT_CREATE, 74}


class Disk:
    """A file system of so many KiB in memory; only root can have one."""

    def __init__(self, folder, kib):
        folder.mkdir()
        self.folder = folder
        done = subprocess.run(["mount", "-t", "tmpfs", "-o", f"size={kib}k", "none", folder], capture_output=True,
                              text=True, check=False)
        if done.returncode:
            raise unittest.SkipTest(f"no file system can be made here: {done.stderr.strip()}")

    def __enter__(self):
        return self

    def __exit__(self, *_):
        subprocess.run(["umount", "--lazy", self.folder], check=True)

    def grow(self, kib):
        subprocess.run(["mount", "-o", f"remount,size={kib}k", self.folder], check=True)

    def make_read_only(self):
        subprocess.run(["mount", "-o", "remount,ro", self.folder], check=True)


class FullDisk(support.WholeRun):
    def setUp(self):
        super().setUp()
        self.shards = self.shard("synthetic:0.5,0.5", clients=4, holdout=0.2)
        self.options = {"data.shards": self.shards, "data.test": self.shards / "test.h5", "federation.rounds": 20,
                        "run.checkpoint-every": EVERY, "server.optimizer": "momentum", "run.resume": "auto"}

    def start(self, run, ranks=0, fail=0, times=10**6, how="full"):
        """Trains while the operations fail … fail + times - 1 on the run directory fail."""
        environment = {"LD_PRELOAD": LIBRARY, "FEDMPI_IO_FOLDER": f"{self.folder / run}", "FEDMPI_IO_FAIL": str(fail),
                       "FEDMPI_IO_TIMES": str(times), "FEDMPI_IO_HOW": how,
                       "FEDMPI_IO_LOG": f"{self.folder}/operations"}
        wrapper = ["env", *(f"{name}={value}" for name, value in environment.items())]
        words = support.words_of({**self.options, "run.dir": self.folder / run})
        return support.Started("train", *words, ranks=ranks, wrapper=wrapper).wait()

    def operations_before(self, name):
        """The numbers of the operations that create the checkpoint of that name aside, in an undisturbed run."""
        log = self.folder / "operations"
        log.unlink(missing_ok=True)
        self.assertEqual(self.start("reference").code, support.DONE)
        lines = [line.split() for line in log.read_text().splitlines()]
        return next(int(words[0]) for words in lines if words[-1].endswith(f"{name}.partial"))

    def assert_ends_well(self, run):
        ended = self.train(run, self.options, ranks=2)
        self.assertEqual(ended.sha256, self.train("undisturbed", {**self.options, "run.resume": "no"}).sha256)

    @unittest.skipUnless(LIBRARY, "a sanitizer has to be loaded before all other libraries")
    def test_for_good_ends_the_run_and_leaves_the_checkpoints_of_before(self):
        full_from = self.operations_before("checkpoint-000009.h5")
        for ranks, how in ((0, "full"), (0, "EDQUOT"), (0, "EIO"), (3, "full")):
            with self.subTest(ranks=ranks, how=how):
                run = f"run-{ranks}-{how}"
                ended = self.start(run, ranks, full_from, how=how)
                self.assertIn(ended.code, NOT_SAVED, str(ended))
                self.assertEqual(len(ended.diagnostics), 1, str(ended))
                rounds = [line.split()[1] for line in ended.err.splitlines() if line.startswith("round  ")]
                self.assertEqual(rounds[-1], str(9 + EVERY), str(ended))  # borne so long
                self.assertEqual(sorted(path.name for path in (self.folder / run).glob("*.h5")),
                                 ["checkpoint-000003.h5", "checkpoint-000006.h5", "latest.h5"])
                self.fedmpi("inspect", self.folder / run / "checkpoint-000003.h5", self.folder / run / "latest.h5")
        self.assert_ends_well("run-3-full")

    @unittest.skipUnless(LIBRARY, "a sanitizer has to be loaded before all other libraries")
    def test_for_a_while_is_borne(self):
        full_from = self.operations_before("checkpoint-000009.h5")
        reference = self.train("undisturbed", self.options).sha256
        for ranks, times in ((0, 25), (0, 60), (3, 40)):
            with self.subTest(ranks=ranks, times=times):
                run = f"run-{ranks}-{times}"
                ended = self.start(run, ranks, full_from, times)
                self.assertEqual(ended.code, support.DONE, str(ended))
                self.assertIn("trying again after the next round", ended.err)
                self.assertEqual(ended.sha256, reference)
                self.assertEqual((self.folder / run / "history.csv").read_text().count("\n"), 22)
                self.assertEqual((self.folder / run / "latest.h5").resolve().name, "checkpoint-000020.h5")

    @unittest.skipUnless(LIBRARY, "a sanitizer has to be loaded before all other libraries")
    def test_for_a_while_is_borne_where_only_the_end_is_to_be_saved(self):
        # A run with a time limit saves after the first round, to know how long that takes.
        self.options.update({"run.checkpoint-every": 0, "stop.minutes": 10})
        full_from = self.operations_before("checkpoint-000001.h5")
        ended = self.start("run", fail=full_from, times=25)
        self.assertEqual(ended.code, support.DONE, str(ended))
        self.assertIn("trying again after the next round", ended.err)

    @unittest.skipUnless(LIBRARY, "a sanitizer has to be loaded before all other libraries")
    def test_from_the_start_on_is_refused_before_the_first_round(self):
        for ranks, how in ((0, "full"), (3, "full"), (0, "EDQUOT")):
            with self.subTest(ranks=ranks, how=how):
                ended = self.start(f"run-{ranks}-{how}", ranks, 1, how=how)
                self.assertEqual(ended.code, support.CANNOT_CREATE, str(ended))
                self.assertIn("run.dir: ", ended.diagnostics[0])
                self.assertNotIn("round ", ended.err)

    def test_a_real_one(self):
        """A disk of its own, with room for no file, for the first checkpoints or for all but the last; then with more."""
        options = {**self.options, "model.kind": "mlp", "model.hidden": 500}
        reference = self.train("undisturbed", {**options, "run.resume": "no"}).sha256
        checkpoint = (self.folder / "undisturbed" / "latest.h5").stat().st_size // 1024
        for ranks, share in ((0, 0.1), (0, 0.5), (0, 0.9), (0, 1.1), (0, 1.5), (0, 1.8), (3, 2.1), (3, 2.5), (0, 2.8)):
            kib = int(share * checkpoint)
            with self.subTest(ranks=ranks, kib=kib), Disk(self.folder / f"disk-{kib}", kib) as disk:
                run = f"disk-{kib}/run"
                ended = support.Started("train", *support.words_of({**options, "run.dir": self.folder / run}),
                                        ranks=ranks).wait()
                self.assertIn(ended.code, NOT_SAVED, str(ended))
                self.assertEqual(len(ended.diagnostics), 1, str(ended))
                self.assertIn("No space left on device", ended.diagnostics[0])
                disk.grow(8 * checkpoint)
                self.assertEqual(self.train(run, options, ranks=2).sha256, reference)

    def test_that_can_only_be_read(self):
        for ranks in (0, 2, 3):
            with self.subTest(ranks=ranks), Disk(self.folder / f"disk-{ranks}", 10**5) as disk:
                run = f"disk-{ranks}/run"
                self.train(run, {**self.options, "federation.rounds": 6}, ranks)
                disk.make_read_only()
                for directory in (run, f"disk-{ranks}/another"):
                    ended = self.train(directory, self.options, ranks, support.CANNOT_CREATE)
                    self.assertEqual(len(ended.diagnostics), 1, str(ended))
                    self.assertIn("Read-only file system", ended.diagnostics[0])
                self.fedmpi("inspect", self.folder / run / "latest.h5")

    def test_of_the_log_does_not_end_the_run(self):
        expected = self.train("undisturbed", {**self.options, "run.resume": "no"}).sha256
        for ranks in (0, 3):
            with self.subTest(ranks=ranks):
                words = support.words_of({**self.options, "run.dir": self.folder / f"run-{ranks}"})
                ended = support.Started("train", *words, ranks=ranks,
                                        wrapper=["sh", "-c", 'exec "$@" 2>/dev/full', "sh"]).wait()
                self.assertEqual(ended.code, support.DONE, str(ended))
                self.assertIn(expected, ended.out)
        refused = support.Started("train", "--no.such", "option", wrapper=["sh", "-c", 'exec "$@" 2>/dev/full', "sh"])
        self.assertEqual(refused.wait().code, support.USAGE)

    def test_of_what_was_asked_for_is_told(self):
        for words in ([self.shards / "shard-00000.h5"], ["--json", self.shards / "shard-00000.h5"]):
            ended = support.Started("inspect", *words, wrapper=["sh", "-c", 'exec "$@" >/dev/full', "sh"]).wait()
            self.assertEqual(ended.code, 74, str(ended))
            self.assertIn("standard output cannot be written: No space left on device", ended.diagnostics[0])

    def test_a_limit_for_files(self):
        """Of the shell, of 100 KiB."""
        ended = support.Started("shard", "synthetic:1,1", "--out", self.folder / "large",
                                wrapper=["bash", "-c", 'ulimit -f 100; exec "$@"', "bash"]).wait()
        self.assertEqual(ended.code, 74, str(ended))
        self.assertEqual(len(ended.diagnostics), 1, str(ended))
        self.assertRegex(ended.diagnostics[0], "large/shard-00000.h5.*: File too large")

    def test_a_directory_that_takes_nothing_is_refused_before_the_first_round(self):
        (self.folder / "file").write_text("")
        cases = {"/proc/fedmpi": " cannot be created", "/sys/kernel": "/.lock cannot be written",
                 self.folder / "file" / "run": " cannot be created", "/dev/full/run": " cannot be created"}
        for ranks in (0, 3):
            for run, words in cases.items():
                with self.subTest(run=run, ranks=ranks):
                    ended = self.train(run, self.options, ranks, support.CANNOT_CREATE)
                    self.assertIn(f"run.dir: {run}{words}", ended.diagnostics[0])
                    self.assertNotIn("round ", ended.out)


class SharedMemory(support.WholeRun):
    def setUp(self):
        super().setUp()
        shards = self.shard("synthetic:0.5,0.5", clients=4)
        self.options = {"data.shards": shards, "federation.rounds": 2, "model.kind": "mlp", "model.hidden": 20_000}

    def start(self, kib, *words, ranks=3, **options):
        with Disk(self.folder / "memory", kib) as disk:
            words = [*support.words_of({**self.options, "run.dir": self.folder / "run", **options}), *words]
            wrapper = ["env", f"OMPI_MCA_osc_sm_backing_directory={disk.folder}"]
            ended = support.Started("train", *words, ranks=ranks, wrapper=wrapper).wait()
        disk.folder.rmdir()
        return ended

    def test_without_room_is_refused_before_the_first_round(self):
        """For the first vector, for the last, only for all of them together, of which each would fit, or by so little that
        MPI says so to one of the ranks alone."""
        for kib, more in itertools.product((8, 4096, 11_400, 20_480, 40_960), ([], ["--dry-run"])):
            with self.subTest(kib=kib, more=more):
                ended = self.start(kib, *more)
                self.assertEqual(ended.code, 74, str(ended))
                self.assertEqual(len(ended.diagnostics), 1, str(ended))
                self.assertRegex(ended.diagnostics[0], rf"shared memory: expected at least \d+ MiB free in "
                                 rf"{self.folder}/memory for 3 ranks, found \d+ MiB: .*--run.shared-memory off")
                self.assertFalse((self.folder / "run").exists())

    def test_with_room_or_without_sharing_it_trains(self):
        shared = self.start(1024 * 64)
        self.assertEqual(shared.code, support.DONE, str(shared))
        apart = self.start(8, **{"run.shared-memory": "off", "run.dir": self.folder / "apart"})
        self.assertEqual(apart.code, support.DONE, str(apart))
        self.assertEqual(apart.sha256, shared.sha256)


if __name__ == "__main__":
    support.main()
