"""Files go both ways: what h5py writes fedmpi trains on, and what fedmpi writes h5py and pandas read."""

import functools
import json
import shutil
import struct

import h5py
import numpy as np
import pandas as pd

import oracle
import support

SIZES = [30, 5, 65, 100]
OPTIONS = {"federation.rounds": 4, "client.epochs": 2, "client.lr": 0.1, "federation.cohort": 3}


def bytes_and_labels(rows=sum(SIZES), shape=(6, 6)):
    """Grey images whose label is where they are bright."""
    draw = np.random.default_rng(4)
    labels = draw.integers(0, 3, rows).astype("i4")
    images = draw.integers(0, 90, (rows, *shape))
    for k in range(3):
        images[labels == k, 2 * k : 2 * k + 2] += 120
    return images.astype("u1"), labels


class ShardsByH5py(support.WholeRun):
    def digest(self, shards, run, ranks=0, **more):
        return self.train(run, {"data.shards": shards, **OPTIONS, **more}, ranks).sha256

    def test_how_features_are_stored_does_not_matter(self):
        images, labels = bytes_and_labels()
        numbers = images.astype("f4") * np.float32(1 / 255)
        names = ["anna", "bo", "çelik", "дина"]
        digests = {}
        for what, features, more in [
            ("uint8", images, {"scale": np.float32(1 / 255)}),
            ("float32", numbers, {}),
            ("flat", numbers.reshape(len(numbers), -1), {}),
            ("without names", numbers, {"names": None}),
            ("default format", numbers, {"newest_format": False}),
            ("default format uint8", images, {"newest_format": False, "scale": np.float32(1 / 255)}),
            ("int64 labels", numbers, {"labels": labels.astype("i8")}),
        ]:
            arguments = {"labels": labels, "sizes": SIZES, "names": names, **more}
            shard = support.write_shard(self.folder / what / "shard-0.h5", features, **arguments)
            digests[what] = self.digest(shard, f"run {what}", ranks=2 if what == "uint8" else 0)
        self.assertEqual(set(digests.values()), {digests["float32"]}, digests)

    def test_learns_from_bytes(self):
        images, labels = bytes_and_labels()
        support.write_shard(self.folder / "shards/shard-0.h5", images, labels, SIZES, scale=1 / 255)
        test_images, test_labels = bytes_and_labels(300)
        test = support.write_shard(self.folder / "test.h5", test_images, test_labels, scale=1 / 255)
        self.digest(self.folder / "shards", "run", ranks=3, **{"data.test": test, "federation.rounds": 10})
        self.assertGreater(self.history("run")["test_accuracy"][-1], 0.95)

    def test_scale_and_offset(self):
        images, labels = bytes_and_labels()
        scaled = images.astype("f4") * np.float32(0.5) + np.float32(-3)
        a = support.write_shard(self.folder / "a/shard-0.h5", images, labels, SIZES, scale=0.5, offset=-3.0)
        b = support.write_shard(self.folder / "b/shard-0.h5", scaled, labels, SIZES)
        self.assertEqual(self.digest(a, "run-a"), self.digest(b, "run-b"))

    def test_compressed_by_deflate_and_shuffle(self):
        images, labels = bytes_and_labels()
        plain = support.write_shard(self.folder / "plain/shard-0.h5", images, labels, SIZES)
        packed = self.folder / "packed" / "shard-0.h5"
        packed.parent.mkdir()
        with h5py.File(plain) as source, h5py.File(packed, "w", libver="latest") as f:
            f.attrs.update(source.attrs)
            for name in ("features", "labels", "clients/offsets"):
                f.create_dataset(name, data=source[name][:], chunks=True, fletcher32=True, shuffle=True,
                                 compression="gzip")
        self.assertEqual(self.digest(packed, "run-packed"), self.digest(plain, "run-plain"))

    def test_a_file_without_clients_is_one_client(self):
        images, labels = bytes_and_labels()
        ended = self.train("run", {"data.shards": support.write_shard(self.folder / "s/shard-0.h5", images, labels),
                                   "federation.rounds": 1})
        self.assertIn("1 client, 200 examples", ended.err)

    def test_one_file_per_client_in_order_of_name(self):
        images, labels = bytes_and_labels()
        one = support.write_shard(self.folder / "one/shard-0.h5", images, labels, SIZES, classes=3)
        begin = 0
        for i, size in enumerate(SIZES):
            rows = slice(begin, begin + size)
            support.write_shard(self.folder / f"many/shard-{i}.h5", images[rows], labels[rows], [size], classes=3)
            begin += size
        self.assertEqual(self.digest(self.folder / "many", "run-many", ranks=3), self.digest(one, "run-one"))
        self.assertEqual(self.digest(self.folder / "many" / "shard-?.h5", "run-pattern"), self.digest(one, "run-2"))

    def test_a_file_of_tensorflow_federated_trains_as_it_is(self):
        images, labels = bytes_and_labels()
        pixels = images.astype("f4") / np.float32(255)
        rows = np.split(np.arange(len(images)), np.cumsum(SIZES)[:-1])
        file = self.folder / "emnist.h5"
        with h5py.File(file, "w") as f:
            for name, part in zip(("f0001_41", "f0007_12", "f0009_03", "f0100_99"), rows):
                f[f"examples/{name}/pixels"] = pixels[part]
                f[f"examples/{name}/label"] = labels[part]
        same = support.write_shard(self.folder / "same/shard-0.h5", pixels, labels, SIZES)
        for ranks in (0, 3):
            with self.subTest(ranks=ranks):
                self.assertEqual(self.digest(file, f"run-tff-{ranks}", ranks), self.digest(same, f"run-{ranks}", ranks))
        imported = self.shard(f"tff:{file}", "imported")
        self.assertEqual(self.digest(imported, "run-imported"), self.digest(same, "run-same"))


class Checkpoints(support.WholeRun):
    def setUp(self):
        super().setUp()
        self.shards = self.shard("synthetic:0.5,0.5", clients=12, holdout=0.2)
        self.train("run", {
            "data.shards": self.shards, "data.test": self.shards / "test.h5", **OPTIONS, "model.kind": "mlp",
            "model.hidden": "20,10", "model.activation": "tanh", "server.optimizer": "adam", "server.lr": 0.1,
            "federation.seed": 77, "eval.every": 2, "eval.clients": "on"}, ranks=3)
        self.checkpoint = self.folder / "run" / "latest.h5"

    def test_attributes_and_shapes(self):
        with h5py.File(self.checkpoint) as f:
            self.assertEqual(f.attrs["format"].decode(), "fedmpi-checkpoint")
            self.assertEqual((f.attrs["version"], f.attrs["round"], f.attrs["seed"]), (3, 4, 77))
            self.assertIn("hidden = 20,10", f.attrs["config"].decode())
            self.assertTrue(f.attrs["git_revision"])
            shapes = {f"{layer}/{name}": d.shape for layer, group in f["model"].items() for name, d in group.items()}
            self.assertEqual(shapes, {"dense_1/kernel": (60, 20), "dense_1/bias": (20,), "dense_2/kernel": (20, 10),
                                      "dense_2/bias": (10,), "dense_3/kernel": (10, 10), "dense_3/bias": (10,)})
            parameters = sum(np.prod(s) for s in shapes.values())
            self.assertEqual({n: d.shape for n, d in f["server"].items()},
                             {"first_moment": (parameters,), "second_moment": (parameters,)})

    def test_every_dataset_is_protected(self):
        unprotected = []
        with h5py.File(self.checkpoint) as f:
            f.visititems(lambda name, o: unprotected.append(name)
                         if isinstance(o, h5py.Dataset) and not o.fletcher32 else None)
        self.assertEqual(unprotected, [])

    def test_the_forward_pass_in_numpy_is_that_of_evaluate(self):
        x, y, _ = support.read_shard(self.shards / "test.h5")
        weights = self.weights("run")
        out = self.fedmpi("evaluate", "--checkpoint", self.checkpoint, "--data", self.shards / "test.h5").out
        printed = {words[0]: words[1] for words in map(str.split, out.splitlines())}
        self.assertEqual(float(printed["accuracy"]), round(oracle.metric(weights, x, y, "tanh"), 6))
        self.assertAlmostEqual(float(printed["loss"]), oracle.loss(weights, x, y, "tanh"), delta=2e-6)
        last = self.history("run")[-1]
        self.assertAlmostEqual(last["test_accuracy"], oracle.metric(weights, x, y, "tanh"), delta=1e-9)
        self.assertAlmostEqual(last["test_loss"], oracle.loss(weights, x, y, "tanh"), delta=2e-6)

    def test_the_history_is_a_pandas_frame_in_one_line(self):
        frame = pd.DataFrame(h5py.File(self.checkpoint)["history"][:])
        for column in ("round", "train_loss", "test_loss", "test_accuracy", "update_norm", "clients", "examples",
                       "bytes_up", "bytes_down", "seconds", "seconds_train", "seconds_exchange", "client_worst"):
            self.assertIn(column, frame.columns)
        self.assertEqual(frame["round"].tolist(), [0, 1, 2, 3, 4])
        self.assertEqual(frame["clients"].tolist(), [0, 3, 3, 3, 3])
        self.assertEqual(frame["test_accuracy"].notna().tolist(), [True, False, True, False, True])
        self.assertTrue(frame["train_loss"][1:].notna().all())
        # Ranks that share memory hand nothing to MPI.
        self.assertEqual((frame["bytes_up"].sum(), frame["bytes_down"].sum()), (0, 0))

    def test_the_history_counts_what_is_handed_to_mpi(self):
        self.train("messages", {"data.shards": self.shards, "model.kind": "softmax", "federation.rounds": 2,
                                "run.shared-memory": "off"}, ranks=3)
        parameters = support.flat(self.weights("messages")).size
        rows = self.history("messages")[1:]
        self.assertEqual([(r["bytes_down"], r["bytes_up"]) for r in rows],
                         2 * [(2 * parameters * 4, 2 * parameters * 8)])

    def test_history_csv_has_the_same_table(self):
        frame = pd.DataFrame(h5py.File(self.checkpoint)["history"][:])
        csv = pd.read_csv(self.folder / "run" / "history.csv")
        pd.testing.assert_frame_equal(csv, frame, check_dtype=False, rtol=1e-6)

    def test_the_parts_of_a_row_add_up_to_its_seconds(self):
        csv = pd.read_csv(self.folder / "run" / "history.csv")
        parts = csv[["seconds_broadcast", "seconds_train", "seconds_exchange", "seconds_server", "seconds_evaluate",
                     "seconds_checkpoint"]].sum(axis=1)
        np.testing.assert_allclose(parts, csv["seconds"], rtol=0.05, atol=1e-3)
        np.testing.assert_allclose(parts.sum(), csv["seconds"].sum(), rtol=0.05)

    def test_config_ini_repeats_the_run(self):
        before = self.weights("run")
        again = self.fedmpi("train", "--config", self.folder / "run" / "config.ini", "--run.dir", self.folder / "again")
        np.testing.assert_array_equal(support.flat(self.weights("again")), support.flat(before))
        self.assertIn("all 4 rounds done", again.out)

    def test_the_run_directory_holds_what_is_promised(self):
        names = sorted(p.name for p in (self.folder / "run").iterdir())
        self.assertEqual(names, ["checkpoint-000004.h5", "config.ini", "history.csv", "latest.h5"])
        self.assertEqual((self.folder / "run" / "latest.h5").readlink().name, "checkpoint-000004.h5")


class Shards(support.WholeRun):
    def test_of_two_that_are_made_at_once_into_one_folder_one_is_made(self):
        out = self.folder / "shards"
        words = ["shard", "synthetic:1,1", "--clients", 30, "--files", 20, "--holdout", 0.1, "--out", out]
        both = [support.Started(*words) for _ in range(2)]
        ended = [one.wait(60) for one in both]
        self.assertEqual(sorted(one.code for one in ended), [support.DONE, support.CANNOT_CREATE], str(ended))
        self.assertEqual(len(list(out.iterdir())), 21)
        self.train("run", {"data.shards": out, "data.test": out / "test.h5", "federation.rounds": 1})


    def import_csv(self, text, *words, code=support.DONE):
        """Standard output, or the error, of `fedmpi shard` on such a file."""
        (self.folder / "data.csv").write_text(text)
        shutil.rmtree(self.folder / "out", ignore_errors=True)
        words = ["shard", f"csv:{self.folder}/data.csv", "--label", "y", "--out", self.folder / "out", *words]
        ended = self.fedmpi(*words, code=code)
        return ended.err if code else ended.out

    def test_say_what_their_columns_and_labels_are_called(self):
        frame = pd.DataFrame({"age": [1, 2, 3, 4], "note, long": ["a\nb", "c", "d", "e"], "größe": [5, 6, 7, 8],
                              "y": ["no", "yes", "no", "yes"]})
        refused = self.import_csv(frame.to_csv(), "--clients", 2, code=support.BAD_DATA)
        self.assertRegex(refused, "none for column 1.*--drop ''")
        self.import_csv(frame.to_csv(), "--clients", 2, "--drop", "", "--drop", "note, long", "--holdout", 0.3)
        for name in ("shard-00000.h5", "test.h5"):
            with h5py.File(self.folder / "out" / name) as f:
                self.assertEqual(f["columns"].asstr()[:].tolist(), ["age", "größe"])
                self.assertEqual(f["label_names"].asstr()[:].tolist(), ["no", "yes"])
        self.import_csv("a,y\n1,0.5\n2,1.5\n", "--clients", 1)
        with h5py.File(self.folder / "out" / "shard-00000.h5") as f:
            self.assertEqual(f["label_names"].asstr()[:].tolist(), ["y"])

    def test_labels_from_one_are_said_and_renumbered(self):
        (self.folder / "letters").mkdir()
        for part, n in (("train", 52), ("t10k", 26)):
            images, labels = np.zeros((n, 2, 2), "u1"), (np.arange(n) % 26 + 1).astype("u1")
            for kind, array in (("images-idx3", images), ("labels-idx1", labels)):
                header = struct.pack(f">4B{array.ndim}I", 0, 0, 8, array.ndim, *array.shape)
                (self.folder / "letters" / f"{part}-{kind}-ubyte").write_bytes(header + array.tobytes())
        words = ["shard", f"idx:{self.folder}/letters", "--clients", 2, "--out"]
        kept = self.fedmpi(*words, self.folder / "kept").out
        self.assertIn("27 classes, 1 of them empty: 0 (--labels dense leaves it out)\n", kept)
        dense = self.fedmpi(*words, self.folder / "dense", "--labels", "dense").out
        self.assertIn(" 26 classes\n", dense)
        for name in ("shard-00000.h5", "test.h5"):
            with h5py.File(self.folder / "kept" / name) as f:
                self.assertNotIn("label_names", f)
                self.assertEqual((f.attrs["classes"], np.unique(f["labels"]).tolist()), (27, list(range(1, 27))))
            with h5py.File(self.folder / "dense" / name) as f:
                self.assertEqual(f["label_names"].asstr()[:].tolist(), [str(k) for k in range(1, 27)])
                self.assertEqual((f.attrs["classes"], np.unique(f["labels"]).tolist()), (26, list(range(26))))

    def test_clients_that_are_left_out_are_counted(self):
        with h5py.File(self.folder / "tff.h5", "w") as f:
            for client, n in (("a", 5), ("b", 0), ("c", 6), ("d", 0)):
                f[f"examples/{client}/pixels"], f[f"examples/{client}/label"] = np.ones((n, 4), "f4"), np.arange(n)
        out = self.fedmpi("shard", f"tff:{self.folder}/tff.h5", "--out", self.folder / "tff").out
        self.assertRegex(out, r": 2 clients in 1 file, 11 examples")
        self.assertIn("left out: 2 clients without examples in the input\n", out)
        self.assertIn("median 5.5 ", out)
        many = "site,x,y\n" + "".join(f"{i},{i},{i % 2}\n" for i in range(10))
        out = self.import_csv(many, "--client-column", "site", "--holdout", 0.1)
        self.assertIn("left out: 1 client whose examples are all held out\n", out)
        self.assertIn("test.h5: 1 test example\n", out)
        self.assertRegex(self.import_csv(many, "--clients", 3, "--holdout", 0.01, code=support.USAGE),
                         "--holdout: expected a fraction that holds out at least one of 10 examples, found 0.01")

    def test_limits_are_in_the_help(self):
        text = self.fedmpi("shard", "--help").out
        self.assertRegex(text, r"dirichlet:A .*up to 1000000")
        self.assertRegex(" ".join(text.split()), r"--skew A .*more unequal, up to 1000000;")


class Inspect(support.WholeRun):
    def inspect(self, file):
        text = self.fedmpi("inspect", file).out
        return text, json.loads(self.fedmpi("inspect", file, "--json").out)

    def test_a_shard(self):
        images, labels = bytes_and_labels()
        shard = support.write_shard(self.folder / "s" / "shard-0.h5", images, labels, SIZES, list("abcd"), scale=0.25)
        text, parsed = self.inspect(shard)
        self.assertEqual((parsed["kind"], parsed["task"], parsed["examples"], parsed["classes"]),
                         ("shard", "classification", 200, 3))
        self.assertEqual(parsed["label_counts"], np.bincount(labels).tolist())
        self.assertEqual(parsed["features"], {"shape": [6, 6], "type": "uint8", "scale": 0.25, "offset": 0.0})
        clients = parsed["clients"]
        self.assertEqual((clients["count"], clients["examples_min"], clients["examples_max"]), (4, 5, 100))
        self.assertEqual((clients["first"], clients["last"]), ("a", "d"))
        self.assertRegex(text, r"(?m)^examples +200$")

    def test_the_median_of_an_even_number_of_clients(self):
        images, labels = bytes_and_labels(3)
        shard = support.write_shard(self.folder / "s" / "shard-0.h5", images, labels, [1, 2])
        text, parsed = self.inspect(shard)
        self.assertEqual(parsed["clients"]["examples_median"], 1.5)
        self.assertRegex(text, r"(?m)^ +examples_median +1\.5$")

    def test_several_files_are_one_object_a_line(self):
        shards = sorted(self.shard("synthetic:1,1", clients=4, files=2).glob("shard-*.h5"))
        lines = self.fedmpi("inspect", "--json", *shards).out.splitlines()
        self.assertEqual([json.loads(line)["file"] for line in lines], [str(shard) for shard in shards])

    def test_names_that_are_no_text(self):
        images, labels = bytes_and_labels()
        write = functools.partial(support.write_shard, features=images, labels=labels, sizes=[100, 100])
        latin = write(self.folder / "latin.h5", names=[b"a", b"K\xf6ln"])
        self.assertEqual(json.loads(self.fedmpi("inspect", latin, "--json").out)["clients"]["last"], "K\ufffdln")
        control = write(self.folder / "control.h5", names=[b"a", b"\x1b[31mred"])
        text, parsed = self.inspect(control)
        self.assertRegex(text, r"last +\?\[31mred\n")
        self.assertEqual(parsed["clients"]["last"], "\x1b[31mred")

    def test_a_shard_of_regression_with_bad_rows(self):
        x = np.ones((10, 3), "f4")
        x[4, 1] = np.nan
        _, parsed = self.inspect(support.write_shard(self.folder / "shard.h5", x, np.zeros((10, 2), "f4")))
        self.assertEqual((parsed["task"], parsed["targets"], parsed["examples"], parsed["bad_examples"]),
                         ("regression", 2, 10, 1))

    def test_a_checkpoint(self):
        shards = self.shard("linear:features=4,examples=300", clients=5)
        ended = self.train("run", {"data.shards": shards, "model.kind": "linear", "federation.rounds": 3,
                                   "server.optimizer": "momentum"}, ranks=2)
        text, parsed = self.inspect(self.folder / "run" / "latest.h5")
        self.assertEqual((parsed["kind"], parsed["whole"], parsed["round"], parsed["clients"], parsed["examples"]),
                         ("checkpoint", True, 3, 5, 300))
        self.assertEqual(parsed["weights_sha256"], ended.sha256)
        (kernel, bias), = self.weights("run")
        self.assertEqual(parsed["model"]["dense_1/kernel"]["shape"], list(kernel.shape))
        self.assertAlmostEqual(parsed["model"]["dense_1/kernel"]["norm"], np.linalg.norm(kernel), places=6)
        self.assertEqual(parsed["server"], {"velocity": kernel.size + bias.size})
        self.assertEqual(parsed["history"]["rows"], 4)
        self.assertRegex(text, r"(?m)^round +3$")
        self.assertIn(ended.sha256, text)

    def test_a_checkpoint_of_a_model_whose_loss_overflows(self):
        """Unlike one that was not measured."""
        shards = self.shard("linear:features=7,examples=500", clients=4, holdout=0.2)
        self.train("run", {"data.shards": shards, "data.test": shards / "test.h5", "model.kind": "linear",
                           "client.algorithm": "fedsgd", "client.lr": 2e6, "federation.rounds": 6})
        text, parsed = self.inspect(self.folder / "run" / "latest.h5")
        self.assertEqual((parsed["history"]["test_loss"], parsed["history"]["test_rmse"]), ("inf", "inf"))
        self.assertRegex(text, r"(?m)^ +test_loss +inf$")


if __name__ == "__main__":
    support.main()
