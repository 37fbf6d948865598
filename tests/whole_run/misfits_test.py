"""Shards that do not fit each other or the job, and updates that are not finite; and that all ranks leave alike."""

import itertools
import json
import shutil

import h5py
import numpy as np

import support
from faults import CLASSES, ROWS, SIZES, VICTIM, WIDTH, Faults, put, remove


def write(path, width=WIDTH, classes=CLASSES):
    support.write_shard(path, np.zeros((ROWS, width), "f4"), np.arange(ROWS) % classes, SIZES, classes=classes)


class Misfits(Faults):
    def assert_all_named(self, offenders, *patterns):
        for ranks in (0, 3):
            with self.subTest(ranks=ranks):
                ended = self.run_on_whole("run", ranks, support.BAD_DATA)
                for name in offenders:
                    self.assertRegex(ended.err, rf"(?m){name}: expected .*, found ")
                for pattern in patterns:
                    self.assertRegex(ended.err, pattern)
                self.assertFalse((self.folder / "run").exists())

    def test_every_shard_of_another_width_is_named(self):
        write(self.whole / "shards/shard-1.h5", width=WIDTH + 1)
        write(self.whole / "shards/shard-2.h5", width=WIDTH - 1)
        self.assert_all_named(["shard-1.h5", "shard-2.h5"], "6 features", "found 7 features", "found 5 features")

    def test_every_shard_of_other_classes_is_named(self):
        write(self.whole / "shards/shard-1.h5", classes=4)
        write(self.whole / "shards/shard-2.h5", classes=2)
        self.assert_all_named(["shard-1.h5", "shard-2.h5"], "3 classes", "4 classes", "2 classes")

    def test_a_shard_of_another_task_is_named(self):
        support.write_shard(self.whole / VICTIM, np.zeros((ROWS, WIDTH), "f4"), np.zeros((ROWS, 1), "f4"), SIZES)
        self.assert_all_named(["shard-1.h5"], "3 classes", "regression")

    def test_a_shard_that_is_not_there(self):
        """The first, one between others, or the last of those that were made."""
        for number in (0, 2, 4):
            with self.subTest(number=number):
                shards = self.shard("synthetic:1,1", name=f"without-{number}", clients=5, files="client")
                (shards / f"shard-{number:05}.h5").unlink()
                for ranks in (0, 3):
                    ended = self.fedmpi("train", "--run.dir", self.folder / "run", "--data.shards", shards, ranks=ranks,
                                        code=support.BAD_DATA)
                    self.assertRegex(ended.err, "data.shards: expected .*, found (none|4); a pattern takes the files")
                self.train(f"run-{number}", {"data.shards": shards / "shard-*.h5", "federation.rounds": 1})

    def test_every_broken_shard_is_named(self):
        for name in ("shard-0.h5", "shard-2.h5"):
            (self.whole / "shards" / name).write_text("nothing")
        self.assert_all_named(["shard-0.h5", "shard-2.h5"])

    def test_a_participant_that_finds_another_shard_of_that_name(self):
        """A copy on a node's own disk, say: rank 1 has told all ranks what is in it, rank 2 is to train on it too."""
        others = {"wide": {"width": 4000}, "narrow": {"width": WIDTH - 2}}
        for name, other in others.items():
            with self.subTest(name):
                for rank in range(3):
                    write(self.folder / name / str(rank) / "shard.h5", **(other if rank == 2 else {}))
                words = support.words_of({"run.dir": self.folder / f"run-{name}", "data.shards": "shard.h5",
                                          "federation.rounds": 1})
                where = f'cd {self.folder}/{name}/"${{OMPI_COMM_WORLD_RANK:-$PMIX_RANK}}" && exec "$@"'
                ended = support.Started("train", *words, ranks=3, wrapper=["sh", "-c", where, "sh"]).wait()
                self.assertEqual(ended.code, support.BAD_DATA, str(ended))
                self.assertIn(f"shard.h5 does not fit the other shards: {other['width']} features and there {WIDTH}",
                              ended.err)
                self.assertFalse((self.folder / f"run-{name}").exists())

    def test_a_rank_with_other_options(self):
        """A configuration that was changed while the job started, or that is older on one node."""
        cases = {"federation.seed": (1, 2), "client.lr": (0.1, 0.2), "aggregate.kind": ("mean", "float-mean"),
                 "run.shared-memory": ("on", "off"), "eval.every": (1, 0), "federation.deadline": (0, 5)}
        for other in range(3):
            for name, (most, one) in cases.items():
                with self.subTest(name=name, other=other):
                    words = support.words_of({"run.dir": self.folder / "run", "data.shards": self.whole / "shards",
                                              "federation.rounds": 1, name: most})
                    script = f'[ "${{OMPI_COMM_WORLD_RANK:-$PMIX_RANK}}" = {other} ] && set -- "$@" --{name}={one}; exec "$@"'
                    ended = support.Started("train", *words, ranks=3, wrapper=["sh", "-c", script, "sh"]).wait()
                    self.assertEqual(ended.code, support.USAGE, str(ended))
                    self.assertRegex(ended.diagnostics[0], f"rank [0-2]: {name}: expected '.*' as on rank 0, found '")
                    self.assertFalse((self.folder / "run").exists())

    def test_a_rank_with_other_means(self):
        """How much it holds and computes at once is its own; every test example is evaluated once all the same."""
        shards = self.shard("synthetic:0.5,0.5", name="means", clients=40, holdout=0.5)
        options = {"data.shards": shards, "data.test": shards / "test.h5", "client.steps": 10, "federation.rounds": 3}
        same = self.train("same", options, ranks=3)
        for other in range(3):
            with self.subTest(other=other):
                words = support.words_of({"run.dir": self.folder / f"own-{other}", **options})
                script = (f'[ "${{OMPI_COMM_WORLD_RANK:-$PMIX_RANK}}" = {other} ] && '
                          'set -- "$@" --federation.threads=8 --data.memory=64; exec "$@"')
                ended = support.Started("train", *words, ranks=3, wrapper=["sh", "-c", script, "sh"]).wait()
                self.assertEqual(ended.code, support.DONE, str(ended))
                self.assertEqual(ended.sha256, same.sha256)
                for column in ("test_loss", "test_accuracy"):
                    self.assertEqual(list(self.history(f"own-{other}")[column]), list(self.history("same")[column]))

    def test_a_test_shard_that_does_not_fit(self):
        for how in ({"width": WIDTH + 2}, {"classes": CLASSES + 1}):
            with self.subTest(**how):
                write(self.whole / "test.h5", **how)
                self.assert_all_named(["test.h5"])

    def test_a_test_shard_that_is_trained_on_is_told(self):
        shards = self.shard("synthetic:1,1", name="held-out", clients=4, holdout=0.2)
        (self.folder / "link.h5").symlink_to(shards / "test.h5")
        for pattern, test, told in ((shards / "*.h5", "held-out/test.h5", True),
                                    (shards / "*.h5", "link.h5", True), (shards, "held-out/test.h5", False)):
            with self.subTest(pattern=pattern, test=test):
                plan = self.train("run", {"data.shards": pattern, "data.test": self.folder / test},
                                  words=["--dry-run"]).err
                self.assertRegex(plan, "test shard of [0-9]+ examples")
                self.assertEqual("which are trained on too" in plan, told, plan)

    def test_fewer_clients_than_participants(self):
        for ranks, idle in ((11, "10"), (13, "10, 11, 12")):
            with self.subTest(ranks=ranks):
                ended = self.run_on_whole("run", ranks, support.USAGE)
                self.assertRegex(ended.diagnostics[0], rf"9 for {ranks - 1} participants.*rank {idle}$")
                self.assertFalse((self.folder / "run").exists())
        self.run_on_whole("run", 10)

    def test_no_shards_at_all(self):
        attacks = {"none": (lambda path: None, "data.shards: expected ")}
        for name in ("absent", "absent-*.h5", ""):
            with self.subTest(name=name):
                self.assert_refused(attacks, victim=name, **{"data.shards": "{folder}/" + name})
        self.assert_refused(attacks, code=support.USAGE, **{"data.shards": ""})


    def test_nothing_but_bad_rows(self):
        for option, path in (("data.shards", "shards/*.h5"), ("data.test", "test.h5")):
            with self.subTest(option):
                self.write_shards()
                for file in self.whole.glob(path):
                    put("features", (slice(None), 0), np.nan)(file)
                for ranks in (0, 3):
                    ended = self.run_on_whole("run", ranks, support.BAD_DATA, **{"data.skip-bad": "on"})
                    self.assertRegex(ended.diagnostics[0], f"{option}: expected an example that is not bad in .*, found none")
                    self.assertFalse((self.folder / "run").exists())


class Foreign(Faults):
    """Shards by other programs that are as good as those of this one."""

    def test_numbers_of_any_type(self):
        """They train as the float32 or int32 that they stand for, on any number of ranks, in memory or read ahead."""
        draw = np.random.default_rng(2)
        features, labels = draw.integers(0, 100, (ROWS, WIDTH)), draw.integers(0, CLASSES, ROWS)
        digests = {}
        for number, (x, y) in enumerate((("f4", "i4"), ("f8", "f8"), ("f2", "u1"), (">f4", ">f4"), ("i1", ">i2"), ("u2", "i8"))):
            shards = self.folder / f"shards-{number}"
            shards.mkdir()
            with h5py.File(shards / "shard-0.h5", "w") as f:
                f.attrs.update(format="fedmpi-shard", version=1, task="classification")
                f["features"], f["labels"] = features.astype(x), labels.astype(y)
                f["clients/offsets"] = np.concatenate([[0], np.cumsum(SIZES)])
            for ranks, memory in ((0, 0), (3, 1)):
                run = f"run-{number}-{ranks}"
                digests[x, ranks] = self.train(run, {"data.shards": shards, "federation.rounds": 2, "client.lr": 1e-4,
                                                     "data.memory": memory}, ranks).sha256
            said = json.loads(self.fedmpi("inspect", shards / "shard-0.h5", "--json").out)["features"]["type"]
            self.assertEqual(said, {">": "float32 big-endian"}.get(x[0], np.dtype(x).name))
        self.assertEqual(len(set(digests.values())), 1, digests)

    def test_a_number_that_float32_cannot_hold(self):
        x, y, _ = support.read_shard(self.whole / VICTIM)
        x = x.astype("f8")
        x[70, 2] = 1e300
        support.write_shard(self.whole / VICTIM, x, y, SIZES, classes=CLASSES)
        for ranks in (0, 3):
            ended = self.run_on_whole("run", ranks, support.BAD_DATA)
            self.assertIn("shard-1.h5: row 70: expected finite features that float32 can hold, found 1e+300 in feature 2",
                          ended.err)
        self.assertIn("1 bad rows dropped", self.run_on_whole("run", 3, **{"data.skip-bad": "on"}).err)

    def test_labels_of_which_one_file_has_0_alone(self):
        for name, labels in (("shard-0.h5", [0, 1, 2]), ("shard-1.h5", [0, 0, 0])):
            with h5py.File(self.whole / "shards" / name, "w") as f:
                f.attrs.update(format="fedmpi-shard", version=1, task="classification")
                f["features"], f["labels"] = np.ones((3, WIDTH), "f4"), np.array(labels, "i4")
        for ranks in (0, 3):
            ended = self.run_on_whole(f"run-{ranks}", ranks)
            self.assertEqual(ended.code, support.DONE)
        inspected = json.loads(self.fedmpi("inspect", self.whole / "shards/shard-1.h5", "--json").out)
        self.assertEqual(inspected["label_counts"], [3])

    def test_a_client_without_examples(self):
        path = self.whole / "shards/shard-1.h5"
        put("clients/offsets", 1, 0)(path)
        ended = self.run_on_whole("run", 3, support.BAD_DATA)
        self.assertIn("client 'shard-1-client-0': expected at least one example, found none; --data.skip-bad on leaves",
                      ended.err)
        for ranks in (0, 3):
            ended = self.run_on_whole(f"run-{ranks}", ranks, **{"data.skip-bad": "on"})
            self.assertIn("1 client without examples left out", ended.err)


class BadUpdates(Faults):
    """An update that is not finite: the run ends and names the client, or goes on without it."""

    def assert_named(self, ended, client):
        self.assertEqual(len(ended.diagnostics), 1, str(ended))
        self.assertRegex(ended.diagnostics[0], rf"rank \d: client '{client}' of \S+/shard-\d\.h5: "
                                               "expected a finite update, found NaN or Inf in round")
        self.assertEqual(list((self.folder / "run").glob("*.h5")), [])
        shutil.rmtree(self.folder / "run")

    def test_end_the_run(self):
        for ranks, lr, model in ((0, 3e38, "softmax"), (3, 1e30, "mlp"), (5, 3e38, "softmax")):
            with self.subTest(ranks=ranks, lr=lr):
                ended = self.run_on_whole("run", ranks, support.BAD_DATA, **{
                    "client.lr": lr, "client.epochs": 3, "federation.rounds": 20, "model.kind": model})
                self.assert_named(ended, r"shard-\d-client-\d")

    def make_one_client_bad(self, shard=1, client=1):
        """Gives it features so large that the gradient of a squared error overflows float32."""
        first = sum(SIZES[:client])
        put("features", slice(first, first + SIZES[client]), 1e30)(self.whole / f"shards/shard-{shard}.h5")
        return {"federation.cohort": 9, "client.algorithm": "fedsgd", "client.lr": 0.1, "model.kind": "mlp",
                "model.hidden": "5", "model.loss": "squared", "federation.rounds": 4, "data.test": ""}

    def test_are_traced_to_the_client(self):
        for ranks, shard, client in ((0, 0, 0), (2, 1, 1), (3, 2, 2)):
            with self.subTest(ranks=ranks):
                self.write_shards()
                more = self.make_one_client_bad(shard, client)
                ended = self.run_on_whole("run", ranks, support.BAD_DATA, **more)
                self.assertIn("1 such client", ended.diagnostics[0])
                self.assert_named(ended, f"shard-{shard}-client-{client}")

    def test_can_be_dropped(self):
        more = {**self.make_one_client_bad(), "federation.bad-update": "drop"}
        digests = set()
        for ranks in (0, 2, 4):
            digests.add(self.run_on_whole(f"run-{ranks}", ranks, **more).sha256)
            history = self.history(f"run-{ranks}")
            self.assertEqual(history["dropped"].tolist(), [0, 1, 1, 1, 1])
            self.assertEqual(history["clients"].tolist(), [0, 8, 8, 8, 8])
            self.assertEqual(history["examples"].tolist(), [0] + 4 * [3 * ROWS - 60])
        self.assertEqual(len(digests), 1)

        # What is left is the mean of the others, as if it had never been there.
        x, y, _ = support.read_shard(self.whole / VICTIM)
        kept = np.r_[0:20, 80:120]
        support.write_shard(self.whole / VICTIM, x[kept].astype("f4"), y[kept], [20, 40], classes=CLASSES)
        self.run_on_whole("without", 0, **{**more, "federation.cohort": 8})
        found, expected = (support.flat(self.weights(run)) for run in ("run-4", "without"))
        np.testing.assert_allclose(found, expected, atol=1e-6 * np.abs(expected).max())

    def test_of_all_clients_leave_the_model_as_it_is(self):
        for ranks, kind in ((0, "mean"), (3, "mean"), (3, "median")):
            with self.subTest(ranks=ranks, kind=kind):
                run = f"run-{ranks}-{kind}"
                self.run_on_whole(run, ranks, **{"client.lr": 3e38, "client.epochs": 5, "federation.bad-update": "drop",
                                                 "aggregate.kind": kind})
                self.assertEqual(self.history(run)["clients"].tolist(), [0, 0, 0])
                self.assertEqual(np.abs(support.flat(self.weights(run))).max(), 0.0)


class AllRanks(Faults):
    """The launcher reports the exit code of one rank; here each rank's is noted."""

    def assert_leave_with(self, code, run, **more):
        codes = self.folder / f"codes-{next(self.numbers)}"
        words = support.words_of({**self.options(self.whole), "run.dir": self.folder / run, **more})
        support.Started("train", *words, ranks=3, wrapper=["sh", "-c", '"$@"; echo $? >>"$0"', codes]).wait()
        self.assertEqual(codes.read_text().split(), 3 * [str(code)])

    def test_leave_alike(self):
        self.numbers = itertools.count()
        cases = [
            (support.DONE, "run", {}),
            (support.CANNOT_CREATE, "whole/test.h5/run", {}),
            (support.USAGE, "other", {"client.lr": -1}),
            (support.USAGE, "other", {"client.speed": 1}),
            (support.BAD_DATA, "another", {"client.lr": 3e38, "client.epochs": 5}),
        ]
        damages = {"row": put("features", (100, 1), np.nan), "dataset": remove("labels"),
                   "client": put("clients/offsets", 1, 0), "width": lambda path: write(path, 9)}
        for what, damage in damages.items():
            for i in range(3):
                shards = self.folder / f"{what}-{i}"
                shutil.copytree(self.whole / "shards", shards)
                damage(shards / f"shard-{i}.h5")
                cases.append((support.BAD_DATA, "other", {"data.shards": shards}))
        support.together([lambda c=c: self.assert_leave_with(c[0], c[1], **c[2]) for c in cases])
        self.assert_leave_with(support.CANNOT_CREATE, "run")  # which holds a run now


if __name__ == "__main__":
    support.main()
