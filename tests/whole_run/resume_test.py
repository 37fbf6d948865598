"""What a run leaves in its directory, and how another goes on from it: generations of checkpoints, damaged ones, and
other options or data than before."""

import fcntl
import itertools
import shutil
import signal
import time

import h5py
import numpy as np

import support
from faults import attribute, cut, flip_bit, put, remove


class ElevenRounds(support.WholeRun):
    """Runs of 11 rounds with checkpoints after 2, 4, … and 11, of which three are kept."""

    def setUp(self):
        super().setUp()
        self.shards = self.shard("synthetic:0.5,0.5", clients=8)
        self.options = {"data.shards": self.shards, "federation.cohort": 3, "federation.rounds": 11,
                        "run.checkpoint-every": 2, "run.keep": 3}


class TwoAtOnce(ElevenRounds):
    def test_the_second_is_refused_and_the_first_goes_on(self):
        run = self.folder / "run"
        first = support.Started("train", *support.words_of({**self.options, "run.dir": run,
                                                            "federation.rounds": 10**6}), ranks=2)
        self.addCleanup(first.kill)
        deadline = time.monotonic() + support.TIMEOUT
        while not (run / "latest.h5").exists():
            self.assertLess(time.monotonic(), deadline, "no checkpoint")
            time.sleep(0.01)
        options = {**self.options, "run.resume": "auto"}
        for second in support.together([lambda: self.train("run", options, 0, support.CANNOT_CREATE),
                                        lambda: self.train("run", options, 3, support.CANNOT_CREATE)]):
            self.assertRegex(second.diagnostics[0], "run.dir: .*run/.lock is held by process [0-9]+ on ")
        first.signal(signal.SIGUSR1)
        ended = first.wait()
        self.assertEqual(ended.code, support.STOPPED, str(ended))
        self.assertEqual(list(run.glob(".*")), [])
        rounds = int(self.history("run")["round"][-1])
        self.train("run", {**options, "federation.rounds": rounds + 1})


class RunDirectory(ElevenRounds):
    def checkpoints(self):
        return sorted(p.name for p in (self.folder / "run").glob("checkpoint-*"))

    def test_keeps_generations_and_points_at_the_latest(self):
        self.train("run", self.options, ranks=3)
        self.assertEqual(self.checkpoints(), [f"checkpoint-{n:06}.h5" for n in (8, 10, 11)])
        self.assertEqual((self.folder / "run" / "latest.h5").resolve().name, "checkpoint-000011.h5")
        with h5py.File(self.folder / "run" / "latest.h5") as f:
            self.assertEqual(f.attrs["round"], 11)

    def test_a_directory_that_holds_a_run_is_left_alone(self):
        self.train("run", self.options)
        before = support.folder_digest(self.folder / "run")
        for ranks in (0, 3):
            with self.subTest(ranks=ranks):
                ended = self.train("run", {**self.options, "federation.seed": 2}, ranks, support.CANNOT_CREATE)
                self.assertIn("already holds a run", ended.diagnostics[0])
                self.assertEqual(support.folder_digest(self.folder / "run"), before)

    def test_goes_on_from_a_file_in_a_directory_of_its_own(self):
        undisturbed = self.train("run", self.options)
        checkpoint = self.folder / "run" / "checkpoint-000008.h5"
        resumed = self.train("other", {**self.options, "run.resume": checkpoint}, ranks=3)
        self.assertIn("continuing after round 8", resumed.err)
        self.assertEqual(resumed.sha256, undisturbed.sha256)

    def test_a_last_round_that_was_saved_before_it_was_evaluated_is_evaluated(self):
        shards = self.shard("synthetic:0.5,0.5", name="held-out", clients=8, holdout=0.2)
        options = {**self.options, "data.shards": shards, "data.test": shards / "test.h5", "eval.every": 0}
        self.train("run", options)
        checkpoint = self.folder / "run" / "checkpoint-000008.h5"
        ended = self.train("other", {**options, "run.resume": checkpoint, "federation.rounds": 8}, ranks=3)
        self.assertIn("final test accuracy", ended.out)
        self.assertFalse(np.isnan(self.history("other")["test_loss"][-1]))

    def test_told_the_file_again_it_goes_on_from_where_it_is(self):
        """As a job does that is queued again; not where another run has gone on."""
        undisturbed = self.train("run", self.options)
        start = {**self.options, "run.resume": self.folder / "run" / "checkpoint-000008.h5"}
        self.train("other", {**start, "federation.rounds": 10}, ranks=3)
        again = self.train("other", start, ranks=2)
        self.assertIn("continuing after round 10", again.err)
        self.assertEqual(again.sha256, undisturbed.sha256)
        self.train("third", {**self.options, "federation.rounds": 10})
        before = support.folder_digest(self.folder / "third")
        for ranks in (0, 3):
            refused = self.train("third", start, ranks, support.CANNOT_CREATE)
            self.assertRegex(refused.diagnostics[0], "third holds checkpoints later than round 8; choose")
        whole = start["run.resume"].read_bytes()
        start["run.resume"].unlink()  # as the other run does that goes on
        again = self.train("other", {**start, "federation.rounds": 12}, ranks=2)
        self.assertIn("continuing after round 11", again.err)
        start["run.resume"].write_bytes(whole)
        self.train("fourth", {**start, "federation.rounds": 9}, ranks=2)
        newest = self.folder / "fourth" / "checkpoint-000009.h5"
        newest.write_bytes(newest.read_bytes()[:-100])
        again = self.train("fourth", start, ranks=3)
        self.assertIn("continuing after round 8", again.err)
        self.assertEqual(again.sha256, undisturbed.sha256)
        self.train("begun", {**self.options, "stop.minutes": 1e-6}, code=support.STOPPED)
        begun = next((self.folder / "begun").glob("checkpoint-*.h5"))
        refused = self.train("third", {**self.options, "run.resume": begun}, code=support.CANNOT_CREATE)
        self.assertRegex(refused.diagnostics[0], "third holds checkpoints later than round 0; choose")
        self.assertEqual(support.folder_digest(self.folder / "third"), before)

    def test_a_directory_that_goes_on_from_a_file_holds_its_state_at_once(self):
        """So that it can be gone on from, whenever the run stops."""
        undisturbed = self.train("run", self.options)
        for rounds, stop in ((8, {"stop.minutes": 1e-6}), (11, {})):
            other, name = f"other-{rounds}", f"checkpoint-{rounds:06}.h5"
            self.train(other, {**self.options, **stop, "run.resume": self.folder / "run" / name}, 3,
                       support.STOPPED if stop else support.DONE)
            self.assertTrue((self.folder / other / name).exists())
            resumed = self.train(other, {**self.options, "run.resume": "auto"})
            self.assertIn(f"round {rounds}", resumed.err)
            self.assertEqual(resumed.sha256, undisturbed.sha256)

    def test_a_row_after_a_resume_holds_its_own_figures_alone(self):
        shards = self.shard("synthetic:0.5,0.5", name="held-out", clients=8, holdout=0.2)
        options = {**self.options, "data.shards": shards, "data.test": shards / "test.h5", "eval.every": 5}
        self.train("run", {**options, "federation.rounds": 7})
        self.train("run", {**options, "federation.rounds": 12, "run.resume": "auto"}, ranks=3)
        history = self.history("run")
        measured = history["round"][~np.isnan(history["test_loss"])]
        self.assertEqual(measured.tolist(), [0, 5, 7, 10, 12])
        np.testing.assert_array_equal(history["round"], np.arange(13))
        self.assertEqual(history["seconds_evaluate"][8], 0.0)

    def test_a_directory_is_the_same_with_a_slash_behind_it(self):
        self.train("run", self.options)
        self.train(f"{self.folder}/run/", {**self.options, "federation.rounds": 13,
                                           "run.resume": self.folder / "run" / "checkpoint-000011.h5"})

    def test_does_not_go_on_from_a_file_below_later_checkpoints(self):
        self.train("run", self.options)
        before = support.folder_digest(self.folder / "run")
        self.train("run", {**self.options, "run.resume": self.folder / "run" / "checkpoint-000008.h5"},
                   code=support.CANNOT_CREATE)
        self.assertEqual(support.folder_digest(self.folder / "run"), before)


class DamagedCheckpoints(ElevenRounds):
    DAMAGES = {
        "a weight": flip_bit("model/dense_1/kernel"),
        "the bias": flip_bit("model/dense_1/bias"),
        "the history": flip_bit("history"),
        "the optimizer": flip_bit("server/velocity"),
        "cut to half": cut(0.5),
        "cut at the end": cut(-1),
        "empty": cut(0),
        "not HDF5": lambda path: path.write_text("nothing\n" * 500),
        # Written by the library, whose checksums stay right.
        "another weight": put("model/dense_1/kernel", (3, 1), 0.25),
        "another round": attribute("round", np.uint64(7)),
        "a dataset gone": remove("model/dense_1/bias"),
    }

    def setUp(self):
        super().setUp()
        self.numbers = itertools.count()
        self.options["server.optimizer"] = "momentum"
        self.undisturbed = self.train("undisturbed", {**self.options, "federation.rounds": 14}).sha256
        self.train("saved", self.options)
        self.saved = self.folder / "saved"

    def damaged(self, damage, *names):
        """A copy of the run whose checkpoints of these names are damaged."""
        run = self.folder / f"damaged-{next(self.numbers)}"
        shutil.copytree(self.saved, run, symlinks=True)
        for name in names:
            damage(run / name)
        return run

    def resume(self, run, ranks=0, code=support.DONE):
        return self.train(run, {**self.options, "run.resume": "auto", "federation.rounds": 14}, ranks, code)

    def test_of_the_newest_the_one_before_takes_the_place(self):
        runs = [(self.damaged(damage, "checkpoint-000011.h5"), (0, 3)[i % 2])
                for i, damage in enumerate(self.DAMAGES.values())]
        for what, ended in zip(self.DAMAGES, support.together([lambda r=r: self.resume(*r) for r in runs])):
            with self.subTest(damage=what):
                self.assertRegex(ended.err, r"(?m)^note: .*checkpoint-000011\.h5: .*expected .* found ")
                self.assertIn("continuing after round 10", ended.err)
                self.assertEqual(ended.sha256, self.undisturbed)

    def test_one_that_another_writes_is_not_taken_for_damaged(self):
        for name in ("checkpoint-000011.h5", "checkpoint-000008.h5"):
            run = self.damaged(cut(0.5), *(["checkpoint-000011.h5", "checkpoint-000010.h5"] if "8" in name else []))
            before = sorted(path.name for path in run.iterdir())
            with open(run / name, "r+b") as file:
                fcntl.flock(file, fcntl.LOCK_EX)
                for ranks in (0, 3):
                    with self.subTest(name=name, ranks=ranks):
                        ended = self.resume(run, ranks, code=74)
                        self.assertEqual(len(ended.diagnostics), 1, str(ended))
                        self.assertRegex(ended.diagnostics[0], f"{name}: expected a file that nobody writes, found one that cannot be locked")
                        self.assertEqual(sorted(path.name for path in run.iterdir()), before)
            self.assertEqual(self.resume(run).sha256, self.undisturbed)

    def test_of_two_the_third_takes_the_place(self):
        run = self.damaged(flip_bit("history"), "checkpoint-000011.h5", "checkpoint-000010.h5")
        ended = self.resume(run)
        self.assertIn("continuing after round 8", ended.err)
        self.assertEqual(ended.sha256, self.undisturbed)

    def test_damaged_ones_do_not_push_out_what_is_saved_after_them(self):
        run = self.damaged(cut(0.5), "checkpoint-000011.h5", "checkpoint-000010.h5")
        self.train(run, {**self.options, "run.resume": "auto", "federation.rounds": 9})
        self.assertEqual((run / "latest.h5").resolve().name, "checkpoint-000009.h5")
        self.assertEqual(sorted(p.name for p in run.glob("checkpoint-*")),
                         ["checkpoint-000008.h5", "checkpoint-000009.h5", "checkpoint-000010.h5.damaged",
                          "checkpoint-000011.h5.damaged"])

    def test_one_between_does_not_push_out_the_one_that_was_whole(self):
        run = self.damaged(cut(0.5), "checkpoint-000011.h5")
        self.train(run, {**self.options, "run.resume": "auto", "federation.rounds": 12, "run.keep": 2})
        self.assertEqual(sorted(p.name for p in run.glob("checkpoint-*")),
                         ["checkpoint-000010.h5", "checkpoint-000011.h5.damaged", "checkpoint-000012.h5"])

    def test_of_all_is_an_error(self):
        for ranks, what in ((0, "a weight"), (3, "empty"), (2, "another weight")):
            with self.subTest(ranks=ranks, damage=what):
                run = self.damaged(self.DAMAGES[what], *(f"checkpoint-{n:06}.h5" for n in (8, 10, 11)))
                before = support.folder_digest(run)
                ended = self.resume(run, ranks, support.BAD_DATA)
                self.assertEqual(len(ended.diagnostics), 1, str(ended))
                self.assertEqual(support.folder_digest(run), before)

    def test_evaluate_refuses_it(self):
        for what in ("a weight", "cut to half", "another weight"):
            with self.subTest(damage=what):
                run = self.damaged(self.DAMAGES[what], "checkpoint-000011.h5")
                self.fedmpi("evaluate", "--checkpoint", run / "latest.h5", "--data", self.shards,
                            ranks=2, code=support.BAD_DATA)


class GoingOnWithSomethingElse(ElevenRounds):
    def setUp(self):
        super().setUp()
        self.train("run", {**self.options, "federation.rounds": 5})
        self.before = support.folder_digest(self.folder / "run")

    def refused(self, code, ranks=0, **more):
        ended = self.train("run", {**self.options, "run.resume": "auto", **more}, ranks, code)
        self.assertEqual(len(ended.diagnostics), 1, str(ended))
        self.assertEqual(support.folder_digest(self.folder / "run"), self.before)
        return ended.diagnostics[0]

    def test_another_configuration_is_refused_with_the_fields(self):
        changes = {"client.lr": 0.2, "federation.seed": 5, "model.kind": "mlp"}
        for ranks in (0, 3):
            with self.subTest(ranks=ranks):
                line = self.refused(support.USAGE, ranks, **changes)
                for was, (name, value) in zip(("0.1", "1", "softmax"), changes.items()):
                    self.assertIn(f"{name} was '{was}' and is '{value}'", line)
                self.assertNotIn("client.epochs", line)

    def test_run_allow_lets_named_fields_differ(self):
        line = self.refused(support.USAGE, **{"client.lr": 0.2, "client.batch": 5, "run.allow": "client.lr"})
        self.assertIn("client.batch", line)
        self.assertNotIn("client.lr was", line)
        allowed = self.train("run", {**self.options, "run.resume": "auto", "client.lr": 0.2, "client.batch": 5,
                                     "run.allow": "client.lr,client.batch"}, ranks=2)
        self.assertIn("continuing after round 5", allowed.err)

    def test_how_long_and_how_it_runs_may_differ(self):
        ended = self.train("run", {**self.options, "run.resume": "auto", "federation.threads": 2, "run.keep": 5,
                                   "eval.clients": "on", "stop.minutes": 1})
        self.assertEqual(ended.sha256, self.train("undisturbed", self.options).sha256)

    def test_another_model_is_refused_even_if_allowed(self):
        self.refused(support.USAGE, **{"model.kind": "mlp", "run.allow": "model.kind"})

    def test_other_clients_are_refused(self):
        fewer = self.shard("synthetic:0.5,0.5", "fewer", clients=7)
        for ranks in (0, 3):
            with self.subTest(ranks=ranks):
                self.assertIn("8 clients", self.refused(support.BAD_DATA, ranks, **{"data.shards": fewer}))

    def test_other_examples_of_the_same_clients_are_refused(self):
        x, y, clients = support.read_shard(self.shards / "shard-00000.h5")
        sizes = [c.stop - c.start for c in clients]
        another_value, another_label = x.copy(), y.copy()
        another_value[-1, 0] += 1
        another_label[0] = (y[0] + 1) % 10
        for ranks, (features, labels) in enumerate(((x[::-1], y), (another_value, y), (x, another_label))):
            with self.subTest(ranks=ranks):
                other = self.folder / f"other-{ranks}" / "shard-00000.h5"
                support.write_shard(other, features.astype("f4"), labels, sizes, classes=10)
                line = self.refused(support.BAD_DATA, ranks, **{"data.shards": other})
                self.assertRegex(line, "run.resume: expected the data of the checkpoint .*, found other contents")

    def test_the_same_clients_in_other_files_are_not(self):
        apart = self.shard("synthetic:0.5,0.5", "apart", clients=8, files="client")
        ended = self.train("run", {**self.options, "run.resume": "auto", "data.shards": apart}, ranks=3)
        self.assertEqual(ended.sha256, self.train("undisturbed", self.options).sha256)

    def test_a_directory_without_a_run_begins_one(self):
        ended = self.train("new", {**self.options, "run.resume": "auto"}, ranks=2)
        self.assertEqual(ended.sha256, self.train("undisturbed", self.options).sha256)

    def test_a_file_that_is_no_checkpoint_is_refused(self):
        for ranks in (0, 3):
            with self.subTest(ranks=ranks):
                self.refused(support.BAD_DATA, ranks, **{"run.resume": self.shards / "shard-00000.h5"})
                self.refused(support.BAD_DATA, ranks, **{"run.resume": self.folder / "absent.h5"})


if __name__ == "__main__":
    support.main()
