"""Runs killed at any time: all of the job is gone soon, and what goes on from its checkpoints ends with the same bits.
FEDMPI_KILLS is the number of random kills, FEDMPI_SEED where they start; tests/kill_campaign.sh sets both."""

import contextlib
import os
import pathlib
import random
import signal
import time

import support

EVERY = 5  # rounds between checkpoints


class Kills(support.WholeRun):
    locked_up = 0

    def setUp(self):
        super().setUp()
        self.shards = self.shard("synthetic:0.5,0.5", clients=12, holdout=0.2, files=3)
        self.options = {"data.shards": self.shards, "data.test": self.shards / "test.h5", "federation.cohort": 6,
                        "federation.rounds": 150, "client.epochs": 8, "client.batch": 1, "eval.every": 3,
                        "server.optimizer": "adam", "run.checkpoint-every": EVERY, "run.resume": "auto"}

    def start(self, run, ranks, **more):
        words = support.words_of({**self.options, "run.dir": self.folder / run, **more})
        started = support.Started("train", *words, ranks=ranks)
        self.addCleanup(started.kill)
        return started

    def undisturbed(self):
        if not hasattr(self, "reference"):
            self.reference = self.train("undisturbed", self.options, timeout=4 * support.TIMEOUT).sha256
        return self.reference

    def rows(self, run):
        """Rounds of which the history has a row."""
        csv = self.folder / run / "history.csv"
        return max(0, csv.read_text().count("\n") - 2) if csv.exists() else 0

    def saved(self, run):
        names = (self.folder / run).glob("checkpoint-*.h5")
        return max([int(path.stem.split("-")[1]) for path in names], default=0)

    def assert_gone(self, started, lock_ups=1):
        """In time; a test may meet so many launchers that lock themselves up."""
        self.locked_up += not self.gone_in_time(started)
        self.assertLessEqual(self.locked_up, lock_ups)

    def assert_little_lost(self, run):
        self.assertLessEqual(self.rows(run) - self.saved(run), EVERY, "rounds lost")

    def wait_for_round(self, run, rows):
        deadline = time.monotonic() + 20 * support.SLOWER
        while self.rows(run) < rows:
            self.assertLess(time.monotonic(), deadline, "nothing happened for so long")
            time.sleep(0.002)

    def test_at_random_times(self):
        kills = int(os.environ.get("FEDMPI_KILLS", "10"))
        seed = int(os.environ.get("FEDMPI_SEED", "1"))
        draw = random.Random(seed)
        reference = self.undisturbed()
        done = chains = 0
        while done < kills:
            run, finished = f"run-{chains}", False
            chains += 1
            while not finished:
                ranks = draw.choice([0, 2, 3, 5])
                started = self.start(run, ranks)
                killed = None
                if done < kills:
                    time.sleep(draw.uniform(0, 1.5) ** 2)  # often in the start, where directories and files are made
                    victims = started.ranks()
                    killed = draw.choice(victims) if victims else None
                if killed is not None and not started.kill_one(killed):
                    killed = None  # it had just ended
                if killed is not None:
                    self.assert_gone(started, 1 + kills // 10)
                    done += 1
                    if done % 50 == 0:
                        print(f"{done} of {kills} kills", flush=True)
                what = f"seed {seed}, kill {done}, {run}, {ranks} ranks"
                ended = started.wait(4 * support.TIMEOUT)
                with self.subTest(what):
                    if killed is None:
                        self.assertEqual(ended.code, support.DONE, str(ended))
                    finished = ended.code == support.DONE
                    if finished:
                        self.assertEqual(ended.sha256, reference, str(ended))
                    else:
                        self.assertNotEqual(killed, None)
                    self.assert_little_lost(run)
                    self.assertNotRegex(ended.err, "(?m)^(note|fedmpi): .*expected")  # a checkpoint that is not whole
        print(f"{done} kills in {chains} runs, seed {seed}; mpirun locked itself up {self.locked_up} times")

    def test_of_each_rank(self):
        for ranks, victim, rows in ((0, 0, 7), (3, 0, 11), (3, 1, 2), (4, 3, 19)):
            with self.subTest(ranks=ranks, victim=victim):
                run = f"run-{ranks}-{victim}"
                started = self.start(run, ranks)
                self.wait_for_round(run, rows)
                started.kill_one(started.ranks()[victim])
                self.assert_gone(started)
                self.assertNotEqual(started.wait().code, support.DONE)
                self.assert_little_lost(run)
        for ranks, victim, _ in ((0, 0, 0), (3, 0, 0), (3, 1, 0), (4, 3, 0)):
            ended = self.train(f"run-{ranks}-{victim}", self.options, (ranks + 2) % 5, timeout=2 * support.TIMEOUT)
            self.assertEqual(ended.sha256, self.undisturbed())

    def test_terminated(self):
        """SIGTERM to the processes of the job, as a cluster's manager sends it: they are gone within 1 s, or where other
        tests keep the machine busy within 3 (MPI by itself takes 5)."""
        took = []
        for ranks, rows in ((0, 3), (0, 12), (3, 6), (4, 14)):
            with self.subTest(ranks=ranks, rows=rows):
                run = f"run-{ranks}-{rows}"
                started = self.start(run, ranks)
                self.wait_for_round(run, rows)
                victims = started.ranks()
                begun = time.monotonic()
                for pid in victims:
                    with contextlib.suppress(ProcessLookupError):  # the launcher is faster, once one has ended
                        os.kill(pid, signal.SIGTERM)
                while set(victims) & set(started.ranks()):
                    self.assertLess(time.monotonic() - begun, 3 * support.SLOWER)
                    time.sleep(0.005)
                took.append(time.monotonic() - begun)
                self.assert_gone(started)
                started.wait()
                self.assert_little_lost(run)
                ended = self.train(run, self.options, (ranks + 3) % 5, timeout=2 * support.TIMEOUT)
                self.assertEqual(ended.sha256, self.undisturbed())
        self.assertLess(sorted(took)[len(took) // 2], 1 * support.SLOWER)

    def test_terminated_by_the_launcher(self):
        """SIGTERM to mpirun, which tells its ranks after a second and kills them after another."""
        started = self.start("run", 3)
        self.wait_for_round("run", 6)
        started.signal(signal.SIGTERM)
        self.assert_gone(started)
        self.assertNotEqual(started.wait().code, support.DONE)
        self.assert_little_lost("run")
        self.assertEqual(self.train("run", self.options, 2, timeout=2 * support.TIMEOUT).sha256, self.undisturbed())


if __name__ == "__main__":
    support.main()
