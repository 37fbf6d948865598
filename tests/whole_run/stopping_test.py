"""When a run ends: at a target, by patience, by the clock, preempted; and that it goes on to the same bits."""

import re
import signal
import time

import numpy as np

import support


class Stopping(support.WholeRun):
    def setUp(self):
        super().setUp()
        self.shards = self.shard("synthetic:0.5,0.5", clients=10, holdout=0.2)
        self.options = {"data.shards": self.shards, "data.test": self.shards / "test.h5", "federation.rounds": 200,
                        "client.lr": 0.02, "federation.cohort": 4, "server.optimizer": "momentum", "eval.every": 2}

    def test_at_a_target(self):
        ended = self.train("run", {**self.options, "stop.target": 0.7}, ranks=3)
        self.assertIn("target reached", ended.out)
        metric = self.history("run")["test_accuracy"]
        self.assertGreaterEqual(metric[-1], 0.7)
        self.assertLess(np.nanmax(metric[:-1]), 0.7)

    def test_at_a_target_of_regression(self):
        shards = self.shard("linear:features=5,examples=400,noise=0.1", "linear", clients=5, holdout=0.2)
        self.train("run", {"data.shards": shards, "data.test": shards / "test.h5", "model.kind": "linear",
                           "client.lr": 0.01, "stop.target": 0.3}, ranks=2)
        metric = self.history("run")["test_rmse"]
        self.assertLessEqual(metric[-1], 0.3)
        self.assertGreater(metric[:-1].min(), 0.3)

    def test_by_patience(self):
        for ranks in (0, 3):
            with self.subTest(ranks=ranks):
                ended = self.train(f"run-{ranks}", {**self.options, "client.lr": 1, "stop.patience": 3}, ranks)
                self.assertIn("no better test loss in 3 evaluations", ended.out)
                losses = self.history(f"run-{ranks}")["test_loss"]
                losses = losses[~np.isnan(losses)][1:]  # the untrained model does not count
                since_best = [i - int(losses[: i + 1].argmin()) for i in range(len(losses))]
                self.assertEqual((max(since_best[:-1]), since_best[-1]), (2, 3))

    def test_a_run_that_is_done_has_nothing_to_go_on_with(self):
        first = self.train("run", {**self.options, "stop.target": 0.7})
        rows = len(self.history("run"))
        again = self.train("run", {**self.options, "stop.target": 0.7, "run.resume": "auto"}, ranks=2)
        self.assertEqual(again.sha256, first.sha256)
        self.assertIn("target reached", again.out)
        self.assertEqual(len(self.history("run")), rows)

    def assert_goes_on_to_the_same_bits(self, run, ranks, **options):
        rounds = int(self.history(run)["round"][-1])
        self.assertGreater(rounds, 0)
        options = {**self.options, **options, "federation.rounds": rounds + 3}
        undisturbed = self.train(f"{run}-undisturbed", options)
        resumed = self.train(run, {**options, "run.resume": "auto"}, ranks)
        self.assertIn(f"continuing after round {rounds}", resumed.err)
        self.assertEqual(resumed.sha256, undisturbed.sha256)
        for column in ("round", "train_loss", "test_loss", "update_norm", "clients", "examples"):
            found, expected = self.history(run)[column], self.history(f"{run}-undisturbed")[column]
            # An early end evaluates once more than an undisturbed run would have.
            same = (found == expected) | np.isnan(expected) | (np.arange(len(found)) == rounds)
            self.assertTrue(same.all(), f"{column}: {found[~same]} {expected[~same]}")

    def test_by_the_clock_and_goes_on(self):
        for ranks in (0, 3):
            with self.subTest(ranks=ranks):
                options = {"client.batch": 1, "client.epochs": 5}
                ended = self.train(f"run-{ranks}", {**self.options, **options, "federation.rounds": 10**6,
                                                    "stop.minutes": 0.04}, ranks, code=support.STOPPED)
                self.assertIn("time limit", ended.out)
                self.assertLess(self.history(f"run-{ranks}")["seconds"].sum(), 0.04 * 60)
                self.assert_goes_on_to_the_same_bits(f"run-{ranks}", 3 - ranks, **options)

    def test_by_the_clock_as_soon_as_two_more_rounds_might_not_fit(self):
        """By what its own rounds took, since others may take longer or shorter on a machine that does more besides."""
        limit, rounding = 3.0 * support.SLOWER, 0.06
        options = {**self.options, "client.batch": 1, "client.epochs": int(200 / support.SLOWER), "federation.cohort": 10,
                   "eval.every": 0, "federation.rounds": 10**6, "stop.minutes": limit / 60}
        for ranks in (0, 3):
            with self.subTest(ranks=ranks):
                ended = self.train(f"run-{ranks}", options, ranks, support.STOPPED)
                used = float(re.search(r"time limit: ([0-9.]+) s .*two more rounds might not fit", ended.out)[1])
                history = self.history(f"run-{ranks}")
                rounds = history["seconds"] - history["seconds_checkpoint"]
                longest = np.maximum.accumulate(rounds) + np.maximum.accumulate(history["seconds_checkpoint"])
                so_far = history["seconds"].cumsum()
                needed = used - so_far[-1] + so_far + 2 * longest  # when each round had been made
                self.assertGreater(needed[-1], limit - rounding)
                self.assertTrue((needed[:-1] < limit + rounding).all(), needed)

    def test_preempted_by_a_signal_and_goes_on(self):
        options = {"client.batch": 1, "client.epochs": 20, "run.checkpoint-every": 4}
        for ranks, rows in ((0, 1), (0, 7), (3, 2), (3, 9), (5, 14)):
            with self.subTest(ranks=ranks, rows=rows):
                run = f"run-{ranks}-{rows}"
                words = support.words_of({"run.dir": self.folder / run, **self.options, **options,
                                          "federation.rounds": 10**6})
                started = support.Started("train", *words, ranks=ranks)
                self.addCleanup(started.kill)
                csv = self.folder / run / "history.csv"
                self.wait_until(lambda: csv.exists() and csv.read_text().count("\n") > rows)
                signalled = time.monotonic()
                started.signal(signal.SIGUSR1)
                ended = started.wait(10)
                self.assertEqual(ended.code, support.STOPPED, str(ended))
                self.assertIn("preempted by SIGUSR1", ended.out)
                self.assertLess(time.monotonic() - signalled, 5)
                self.assert_goes_on_to_the_same_bits(run, (ranks + 2) % 6, **options)

    def test_early_it_saves_without_an_evaluation_that_is_not_due(self):
        """There may be no time left for one."""
        options = {**self.options, "federation.rounds": 10**6, "eval.every": 0}
        self.train("run", {**options, "stop.minutes": 0.01}, ranks=3, code=support.STOPPED)
        self.assertTrue(np.isnan(self.history("run")["test_loss"]).all())
        rounds = int(self.history("run")["round"][-1])
        self.train("run", {**options, "federation.rounds": rounds + 1, "run.resume": "auto"})
        self.assertFalse(np.isnan(self.history("run")["test_loss"][-1]))

    def wait_until(self, condition):
        deadline = time.monotonic() + support.TIMEOUT
        while not condition():
            self.assertLess(time.monotonic(), deadline, "nothing happened")
            time.sleep(0.002)


if __name__ == "__main__":
    support.main()
