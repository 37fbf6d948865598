"""What the tests of wrong input share: shards to damage, ways to damage them, and what must come of it."""

import shutil

import h5py
import numpy as np

import support

SECONDS = 5 * support.SLOWER  # within which a run on bad input must have ended
SIZES = [20, 60, 40]  # examples of a file's clients
ROWS, WIDTH, CLASSES = sum(SIZES), 6, 3
VICTIM = "shards/shard-1.h5"


class Faults(support.WholeRun):
    """A folder `whole` of three shards of three clients each, and a test shard."""

    def setUp(self):
        super().setUp()
        self.whole = self.folder / "whole"
        self.write_shards()

    def write_shards(self, **more):
        draw = np.random.default_rng(1)
        for name in [f"shards/shard-{i}.h5" for i in range(3)] + ["test.h5"]:
            x, y = draw.normal(size=(ROWS, WIDTH)).astype("f4"), draw.integers(0, CLASSES, ROWS).astype("i4")
            path = self.whole / name
            support.write_shard(path, x, y, SIZES, [f"{path.stem}-client-{c}" for c in range(3)], CLASSES, **more)

    def options(self, folder):
        return {"data.shards": folder / "shards", "data.test": folder / "test.h5", "federation.rounds": 2,
                "federation.cohort": 4}

    def run_on_whole(self, run="run", ranks=0, code=support.DONE, **more):
        ended = self.train(run, {**self.options(self.whole), **more}, ranks, code)
        self.assertLess(ended.seconds, SECONDS)
        return ended

    def assert_refused(self, attacks, victim=VICTIM, code=support.BAD_DATA, **more):
        """Each of the attacks {what: (damage(path), pattern …)}, made on a copy of the folder `whole`, ends alone and
        on 3 ranks with that code, in time, without output, and with one line that matches the patterns. `{folder}` in
        further options is the copy."""
        runs, calls = [], []
        for i, (what, (damage, *patterns)) in enumerate(attacks.items()):
            folder = self.folder / f"attack-{i}"
            shutil.rmtree(folder, ignore_errors=True)
            shutil.copytree(self.whole, folder, symlinks=True)
            damage(folder / victim)
            for ranks in (0, 3):
                run = folder / f"run-{ranks}"
                options = {**self.options(folder), **{k: str(v).format(folder=folder) for k, v in more.items()}}
                words = ["train", *support.words_of({**options, "run.dir": run})]
                calls.append(lambda words=words, ranks=ranks: support.Started(*words, ranks=ranks).wait())
                runs.append((what, ranks, run, folder / victim, patterns))
        for (what, ranks, run, path, patterns), ended in zip(runs, support.together(calls, seconds=SECONDS)):
            with self.subTest(attack=what, ranks=ranks):
                self.assertEqual(ended.code, code, str(ended))
                self.assertLess(ended.seconds, SECONDS)
                self.assertEqual(len(ended.diagnostics), 1, str(ended))
                line = ended.diagnostics[0]
                self.assertRegex(line, r"^fedmpi: rank [0-2]: .*expected .+, found")
                if code == support.BAD_DATA:
                    self.assertIn(str(path), line)
                for pattern in patterns:
                    self.assertRegex(line, pattern)
                self.assertFalse(run.exists(), "there is output")


# Damages: functions of a file's path.


def edit(change):
    """A change of the open file as a damage."""
    def damage(path):
        with h5py.File(path, "r+", libver="latest") as f:
            change(f)

    return damage


def replace(name, data=None, **how):
    """The dataset `name` made anew."""
    def change(f):
        del f[name]
        f.create_dataset(name, data=data, **how)

    return edit(change)


def remove(name):
    return edit(lambda f: f.pop(name))


def put(name, where, value):
    return edit(lambda f: f[name].__setitem__(where, value))


def attribute(name, value, of="/"):
    """Sets an attribute, or removes it where the value is None."""
    def change(f):
        f[of].attrs.pop(name, None)
        if value is not None:
            f[of].attrs[name] = value

    return edit(change)


def cut(kept):
    """The first bytes of the file: a number, or a share of them."""
    def damage(path):
        data = path.read_bytes()
        path.write_bytes(data[: int(kept * len(data)) if isinstance(kept, float) else kept])

    return damage


def flip_bit(name):
    """One bit of the dataset's stored values."""
    def damage(path):
        with h5py.File(path) as f:
            info = f[name].id.get_chunk_info(0)
        data = bytearray(path.read_bytes())
        data[info.byte_offset + info.size // 3] ^= 4
        path.write_bytes(data)

    return damage
