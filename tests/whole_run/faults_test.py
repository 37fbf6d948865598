"""Shards that are wrong: every rank leaves with exit code 65 within seconds, one line says which rank found what in
which file and dataset, and no output is left. Each fault is tried alone and on 3 ranks."""

import os
import unittest

import h5py
import numpy as np

import support
from faults import CLASSES, ROWS, SIZES, WIDTH, Faults, attribute, cut, edit, flip_bit, put, remove, replace

LIBRARY = os.environ.get("FEDMPI_FAIL_IO", "")  # none where the program is built with a sanitizer


class Structure(Faults):
    """Truncated, not HDF5, missing dataset, wrong type or shape."""

    def test_truncated(self):
        self.assert_refused({f"to {kept}": (cut(kept),) for kept in (0, 1, 8, 40, 100, 0.25, 0.5, -512, -1)})

    def test_truncated_in_the_default_format(self):
        self.write_shards(newest_format=False)
        self.assert_refused({f"to {kept}": (cut(kept),) for kept in (96, 0.5, -1)})

    def test_a_flipped_bit(self):
        self.assert_refused({name: (flip_bit(name), f"/{name}: ")
                             for name in ("features", "labels", "clients/offsets")})

    def test_not_hdf5(self):
        self.assert_refused({
            "text": (lambda path: path.write_text("label,x\n1,2\n" * 900), "not HDF5"),
            "zeros": (lambda path: path.write_bytes(bytes(5000)), "not HDF5"),
            "only the signature": (lambda path: path.write_bytes(b"\x89HDF\r\n\x1a\n" + bytes(3000)),),
        })

    def test_not_a_file(self):
        self.assert_refused({
            "a folder": (lambda path: (path.unlink(), path.mkdir()),),
            "a link to nothing": (lambda path: (path.unlink(), path.symlink_to("nowhere")),),
            "a link to itself": (lambda path: (path.unlink(), path.symlink_to(path)),),
        })

    def test_a_missing_dataset_or_attribute(self):
        self.assert_refused({
            "features": (remove("features"), "/features: "),
            "labels": (remove("labels"), "/labels: "),
            "everything": (edit(lambda f: f.clear()), "/features: "),
            "format": (attribute("format", None), "format"),
            "another format": (attribute("format", "hdf-eos"), "fedmpi-shard.*hdf-eos"),
            "a version to come": (attribute("version", 2), "version 1.*found 2"),
            "task": (attribute("task", None), "task"),
            "another task": (attribute("task", "ranking"), "task.*ranking"),
            "a group in its place": (edit(lambda f: (f.pop("labels"), f.create_group("labels"))), "/labels: "),
        })

    def test_a_wrong_type_or_shape(self):
        x, y = np.zeros((ROWS, WIDTH)), np.zeros(ROWS)
        self.assert_refused({
            "complex features": (replace("features", x.astype("c8")), "/features: ", "another type"),
            "words": (replace("features", np.full((ROWS, WIDTH), b"a")), "/features: "),
            "a list of features": (replace("features", x[:, 0].astype("f4")), "/features: "),
            "a number": (replace("features", np.float32(1)), "/features: "),
            "fewer features than declared": (attribute("feature_shape", [WIDTH + 1]), "/features: ", "7.*found 6"),
            "fewer rows than labels": (replace("features", x[1:].astype("f4")), "/labels: ", "119.*120"),
            "labels with fractions": (replace("labels", y + 0.5), "row 0: .*label from 0 to 2, found [012].5"),
            "two labels each": (replace("labels", np.zeros((ROWS, 2), "i4")), "/labels: "),
            "a label for all": (replace("labels", np.int32(1)), "/labels: "),
            "one class": (attribute("classes", 1), "classes"),
            "classes as a word": (attribute("classes", "three"), "classes"),
        })

    def test_wrong_clients(self):
        wrong = ([0, 20, 80, 121], [0, 20, 80, 119], [1, 20, 80, 120], [0, 80, 20, 120], [120], [])
        self.assert_refused({
            **{f"offsets {o}": (replace("clients/offsets", np.array(o, "u8")), "/clients/offsets: ") for o in wrong},
            "offsets with fractions": (replace("clients/offsets", np.array([0, 20.5, 120])), "/clients/offsets: "),
            "offsets in a table": (replace("clients/offsets", np.array([[0, 120]], "u8")), "/clients/offsets: "),
            "a name too few": (replace("clients/names", np.array([b"a", b"b"])), "/clients/names: "),
            "numbers for names": (replace("clients/names", np.arange(3)), "/clients/names: "),
        })

    def test_bytes_with_a_scale_that_is_not_finite(self):
        def bytes_with(**more):
            return lambda path: support.write_shard(path, np.ones((ROWS, WIDTH), "u1"), np.zeros(ROWS, "i4"), SIZES,
                                                    classes=CLASSES, **more)

        self.assert_refused({
            "NaN": (bytes_with(scale=np.nan), "scale"),
            "Inf": (bytes_with(scale=np.inf), "scale"),
            "an offset": (bytes_with(offset=-np.inf), "offset"),
            "a word": (bytes_with(scale="big"), "scale"),
        })

    def test_a_broken_test_shard(self):
        self.assert_refused({"cut": (cut(-200),), "absent": (lambda path: path.unlink(),),
                             "labels gone": (remove("labels"), "/labels: ")}, victim="test.h5")


class Hostile(Faults):
    """Links, virtual datasets, external storage, a shape bomb, a filter from a plugin: before any data is read."""

    def test_links(self):
        decoy = self.folder / "decoy.h5"
        decoy.write_bytes((self.whole / "shards/shard-1.h5").read_bytes())

        def link(name, to):
            return edit(lambda f: (f.move(name, f"elsewhere/{name}"), f.__setitem__(name, to)))

        names = ("features", "labels", "clients")
        self.assert_refused({
            **{f"soft {n}": (link(n, h5py.SoftLink(f"/elsewhere/{n}")), f"/{n}: .*link") for n in names},
            **{f"external {n}": (link(n, h5py.ExternalLink(str(decoy), n)), f"/{n}: .*link") for n in names},
        })

    def test_virtual_datasets(self):
        decoy = self.folder / "decoy.h5"
        decoy.write_bytes((self.whole / "shards/shard-1.h5").read_bytes())

        def virtual(name):
            def change(f):
                layout = h5py.VirtualLayout(f[name].shape, f[name].dtype)
                layout[:] = h5py.VirtualSource(str(decoy), name, f[name].shape)
                del f[name]
                f.create_virtual_dataset(name, layout)

            return edit(change)

        self.assert_refused({name: (virtual(name), f"/{name}: .*virtual")
                             for name in ("features", "labels", "clients/offsets")})

    def test_external_storage(self):
        secret = self.folder / "secret"
        secret.write_bytes(bytes(4 * ROWS * WIDTH))

        def external(name, shape, dtype):
            return replace(name, shape=shape, dtype=dtype, external=[(str(secret), 0, h5py.h5f.UNLIMITED)])

        self.assert_refused({
            "features": (external("features", (ROWS, WIDTH), "f4"), "/features: .*external"),
            "labels": (external("labels", (ROWS,), "i4"), "/labels: .*external"),
            "offsets": (external("clients/offsets", (4,), "u8"), "/clients/offsets: .*external"),
        })

    @unittest.skipUnless(LIBRARY, "a sanitizer has to be loaded before all other libraries")
    def test_what_a_file_points_at_is_never_opened(self):
        """Nor is a plugin looked for, for a filter that is not there."""
        secret, plugins = self.folder / "secret" / "data", self.folder / "secret" / "plugins"
        plugins.mkdir(parents=True)
        secret.write_bytes((self.whole / "shards/shard-1.h5").read_bytes())

        def virtual(f):
            layout = h5py.VirtualLayout((ROWS,), "i4")
            layout[:] = h5py.VirtualSource(str(secret), "labels", (ROWS,))
            del f["labels"]
            f.create_virtual_dataset("labels", layout)

        def linked(f):
            del f["labels"]
            f["labels"] = h5py.ExternalLink(str(secret), "labels")

        damages = (virtual, linked, replace("labels", shape=(ROWS,), dtype="i4", external=[(str(secret), 0, 4 * ROWS)]),
                   replace("labels", np.zeros(ROWS, "i4"), chunks=True, compression="lzf"))
        log = self.folder / "operations"
        for number, damage in enumerate(damages):
            with self.subTest(number=number):
                self.write_shards()
                (edit(damage) if damage in (virtual, linked) else damage)(self.whole / "shards/shard-1.h5")
                log.unlink(missing_ok=True)
                environment = {"LD_PRELOAD": LIBRARY, "FEDMPI_IO_FOLDER": self.folder, "FEDMPI_IO_LOG": log,
                               "HDF5_PLUGIN_PATH": plugins}
                words = support.words_of({**self.options(self.whole), "run.dir": self.folder / "run"})
                ended = support.Started("train", *words,
                                        wrapper=["env", *(f"{k}={v}" for k, v in environment.items())]).wait()
                self.assertEqual(ended.code, support.BAD_DATA, str(ended))
                self.assertIn("shard-1.h5", log.read_text())
                self.assertNotIn("secret", log.read_text())

    def test_shape_bombs(self):
        def bomb(shape, **how):
            def change(f):
                del f["features"]
                f.create_dataset("features", shape, "f4", **how)
                f.attrs["feature_shape"] = shape[1:]

            return edit(change)

        def partly_stored(f):
            del f["features"]
            f.create_dataset("features", (10**9, WIDTH), "f4", chunks=(1000, WIDTH), compression="gzip")
            f["features"][:1000] = np.random.default_rng(1).normal(size=(1000, WIDTH))

        self.assert_refused({
            "nothing stored": (bomb((10**12, 10**3), chunks=(1000, 1000)), "/features: .*stored"),
            "nothing stored of little": (bomb((ROWS, WIDTH), chunks=(10, WIDTH)), "/features: .*stored"),
            "more than 2^64 bytes": (bomb((2**40, 2**30), chunks=(1, 1024)), "/features: "),
            "compressed": (bomb((10**9, 100), chunks=(1000, 100), compression="gzip"), "/features: "),
            "compressed and partly stored": (edit(partly_stored), "/features: .*stored"),
            "late allocation": (bomb((10**10, 10)), "/features: .*stored"),
            "labels": (replace("labels", shape=(10**13,), dtype="i4", chunks=(10**6,)), "/labels: "),
            "clients": (replace("clients/offsets", shape=(10**13,), dtype="u8", chunks=(10**6,)), "/clients/offsets: "),
            "names": (replace("clients/names", shape=(3,), dtype="S2000000000", chunks=(1,)), "/clients/names: "),
        })

    def test_filters(self):
        """LZF is a filter that h5py brings and HDF5 has not; scale-offset is one that could lose digits."""
        x, y = np.zeros((ROWS, WIDTH), "f4"), np.zeros(ROWS, "i4")
        offsets = np.array([0, ROWS], "u8")
        self.assert_refused({
            "features": (replace("features", x, chunks=True, compression="lzf"), "/features: .*filter"),
            "labels": (replace("labels", y, scaleoffset=4), "/labels: .*filter"),
            "offsets": (replace("clients/offsets", offsets, chunks=True, compression="lzf"),
                        "/clients/offsets: .*filter"),
        })

    def test_links_in_a_file_of_tensorflow_federated(self):
        with h5py.File(self.whole / "tff.h5", "w") as f:
            for name in "abc":
                f[f"examples/{name}/pixels"] = np.zeros((5, 4), "f4")
                f[f"examples/{name}/label"] = np.arange(5)
        outside = h5py.ExternalLink(str(self.whole / "test.h5"), "/features")
        self.assert_refused(
            {name: (edit(lambda f, name=name: (f.pop(name), f.__setitem__(name, outside))), "link")
             for name in ("examples/b", "examples/b/pixels", "examples/c/label")},
            victim="tff.h5", **{"data.shards": "{folder}/tff.h5", "data.test": ""})


class Values(Faults):
    """Values that are not numbers, labels out of range, empty shards and clients; dropped if asked to."""

    BAD = {
        "NaN": (put("features", (7, 2), np.nan), "row 7: .*finite.*found nan in feature 2"),
        "Inf": (put("features", (119, 5), np.inf), "row 119: .*finite.*found inf in feature 5"),
        "minus Inf": (put("features", (60, 0), -np.inf), "row 60: .*finite.*found -inf in feature 0"),
        "a negative label": (put("labels", 20, -1), "row 20: .*from 0 to 2, found -1"),
        "a label too large": (put("labels", 0, CLASSES), "row 0: .*from 0 to 2, found 3"),
        "a label of 64 bits": (replace("labels", np.r_[np.zeros(ROWS - 1, "i8"), 2**40]), "row 119: .*label.*found 1099511627776"),
    }

    def test_bad_rows(self):
        self.assert_refused(self.BAD)

    def test_bad_rows_of_the_test_shard(self):
        self.assert_refused(self.BAD, victim="test.h5")

    def test_bad_targets(self):
        y = np.zeros((ROWS, 2), "f4")
        support.write_shard(self.whole / "r.h5", np.ones((ROWS, WIDTH), "f4"), y, SIZES)
        self.assert_refused({f"at {where}": (put("labels", where, np.nan), f"row {where[0]}: .*labels.*found nan")
                             for where in ((3, 1), (99, 0), (119, 1))}, victim="r.h5",
                            **{"data.shards": "{folder}/r.h5", "data.test": "", "model.kind": "linear"})

    def test_empty(self):
        def clients_of(sizes):
            rows = sum(sizes)
            return lambda path: support.write_shard(
                path, np.zeros((rows, WIDTH), "f4"), np.zeros(rows, "i4"), sizes,
                [f"anna-{i}" for i in range(len(sizes))], classes=CLASSES)

        self.assert_refused({
            "shard": (clients_of([0]), "at least one example"),
            **{f"client {sizes.index(0)}": (clients_of(sizes), f"anna-{sizes.index(0)}.*at least one example")
               for sizes in ([0, 20, 100], [20, 0, 100], [20, 100, 0])},
        })

    def test_skip_bad_drops_and_counts(self):
        victim = self.whole / "shards/shard-1.h5"
        x, y, clients = support.read_shard(victim)
        bad = [0, 7, 20, 75, 119]
        with h5py.File(victim, "r+", libver="latest") as f:
            f["features"][0, 1] = f["features"][7, 5] = np.nan
            f["features"][119, 0] = -np.inf
            f["labels"][20], f["labels"][75] = -5, CLASSES
        found = [self.run_on_whole(f"skipped-{ranks}", ranks, **{"data.skip-bad": "on"}) for ranks in (0, 3)]
        for ended in found:
            self.assertIn(f"{len(bad)} bad rows dropped", ended.err)
            self.assertIn(f"9 clients, {3 * ROWS - len(bad)} examples", ended.err)
        kept = np.setdiff1d(np.arange(ROWS), bad)
        sizes = [int(np.isin(kept, np.arange(c.start, c.stop)).sum()) for c in clients]
        support.write_shard(victim, x[kept].astype("f4"), y[kept], sizes, classes=CLASSES)
        self.assertEqual({ended.sha256 for ended in found}, {self.run_on_whole("clean").sha256})

    def test_skip_bad_of_all_rows_of_a_client_and_of_the_test_shard(self):
        for name in ("shards/shard-1.h5", "test.h5"):
            put("features", (slice(20, 80), 3), np.nan)(self.whole / name)
        more = {"data.skip-bad": "on", "federation.cohort": 9}
        digests = {self.run_on_whole(f"run-{ranks}", ranks, **more).sha256 for ranks in (0, 2, 3)}
        self.assertEqual(len(digests), 1)
        last = self.history("run-3")[-1]
        self.assertEqual((last["clients"], last["examples"]), (8, 3 * ROWS - 60))


if __name__ == "__main__":
    support.main()
