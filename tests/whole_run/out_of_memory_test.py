"""Ranks that the system kills because the memory of their control group is used up: the job ends, and goes on later."""

import contextlib
import os
import pathlib
import shutil
import signal
import time
import unittest

import numpy
import support

GROUPS = pathlib.Path("/sys/fs/cgroup")


class Group:
    """A control group of processes that may take no more memory than they have; gone after the tests."""

    def __init__(self):
        first, limit = (GROUPS / "memory", "memory.limit_in_bytes") if (GROUPS / "memory").is_dir() else (GROUPS, "memory.max")
        self.folder = first / f"fedmpi-test-{os.getpid()}"
        self.folder.mkdir()
        try:
            (self.folder / limit).write_text("1048576")  # of what they take from now on
        except OSError:
            self.folder.rmdir()
            raise

    def take_in(self, process):
        (self.folder / "cgroup.procs").write_text(str(process))

    def remove(self):
        end = time.monotonic() + 10
        while (self.folder / "cgroup.procs").read_text().strip() and time.monotonic() < end:
            time.sleep(0.01)
        self.folder.rmdir()


def setUpModule():
    global group
    if support.SLOWER > 1:
        raise unittest.SkipTest("a sanitizer takes memory of its own")
    try:
        group = Group()
    except OSError as error:
        raise unittest.SkipTest(f"no control groups for memory here: {error}") from error
    unittest.addModuleCleanup(group.remove)


def memory(process, what="VmRSS"):
    """In KiB; 0 once it has ended."""
    try:
        lines = pathlib.Path(f"/proc/{process}/status").read_text().splitlines()
    except OSError:
        return 0
    return next((int(line.split()[1]) for line in lines if line.startswith(f"{what}:")), 0)


class OutOfMemory(support.WholeRun):
    RANKS = 3

    def setUp(self):
        super().setUp()
        draw = numpy.random.default_rng(1)
        sizes = [4000] * 8
        for part in range(2):
            support.write_shard(self.folder / f"shards/shard-{part}.h5", draw.random((sum(sizes), 300), dtype="f4"),
                                draw.integers(0, 10, sum(sizes)), sizes, classes=10)
        self.options = {"data.shards": self.folder / "shards", "data.test": self.folder / "shards/shard-0.h5",
                        "model.kind": "mlp", "model.hidden": "200", "federation.rounds": 4, "federation.cohort": 2,
                        "client.batch": 100, "client.lr": 0.01, "run.checkpoint-every": 1, "run.resume": "auto"}

    def start(self, run):
        words = support.words_of({**self.options, "run.dir": self.folder / run})
        started = support.Started("train", *words, ranks=self.RANKS)
        self.addCleanup(started.kill)
        return started

    def test_at_any_time(self):
        """A rank is killed when it has taken some part of what it takes in a run that nobody disturbs."""
        undisturbed = self.start("undisturbed")
        seen = {}  # by process: a rank that leaves before the others would have them counted for it
        while undisturbed.process.poll() is None:
            for process in undisturbed.ranks():
                seen[process] = max(seen.get(process, 0), memory(process, "VmHWM"))
            time.sleep(0.002)
        expected = undisturbed.wait().sha256
        most = [seen[process] for process in sorted(seen)[:self.RANKS]]  # the others only probe files
        killed = 0
        for part, rank in ((0.5, 1), (0.6, 0), (0.7, 2)):
            with self.subTest(part=part, rank=rank):
                run = f"run-{rank}"
                killed += self.attack(run, rank, part * most[rank])
                self.assertEqual(self.train(run, self.options, self.RANKS).sha256, expected)
        self.assertGreater(killed, 0)

    def attack(self, name, rank, kibibytes):
        """Whether the system has killed the rank; if not, it had looked how much is left before it took more."""
        for _ in range(25):
            run = self.start(name)
            with contextlib.suppress(ProcessLookupError):
                self.limit(run, rank, kibibytes)
            by_itself = self.gone_in_time(run)
            ended = run.wait()
            if ended.code != support.DONE:
                break
            shutil.rmtree(self.folder / name)  # it came too late: the rank had all that it takes
        if ended.code == support.USAGE:
            self.assertRegex(ended.err, "fedmpi: .*memory")
            return False
        if by_itself:
            self.assertEqual(ended.code, 128 + signal.SIGKILL, str(ended))
        return by_itself

    def limit(self, run, rank, kibibytes):
        """Takes a rank into the group once it has so much."""
        while len(ranks := run.ranks()) < self.RANKS:
            if run.process.poll() is not None:
                return
        victim = ranks[rank]
        while memory(victim) < kibibytes:
            if run.process.poll() is not None:
                return
        os.kill(victim, signal.SIGSTOP)
        group.take_in(victim)
        os.kill(victim, signal.SIGCONT)


if __name__ == "__main__":
    support.main()
