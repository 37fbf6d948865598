"""Examples that do not stay in memory: the same bits as if they did, however the shard is stored, and damage is found
before the first round."""

import time

import h5py
import numpy as np

import support
from support import BAD_DATA, USAGE

SIZES = 2 * [600, 540, 300, 7, 580, 590, 480, 500, 1, 420, 533, 599]
WIDTH = 784

OPTIONS = {
    "model.kind": "softmax", "client.lr": 0.01, "client.epochs": 2, "federation.cohort": 11, "federation.rounds": 5,
    "federation.seed": 3, "eval.every": 2, "eval.clients": "on",
}


def examples():
    generator = np.random.default_rng(5)
    return generator.integers(0, 256, (sum(SIZES), WIDTH), "u1"), generator.integers(0, 10, sum(SIZES)).astype("i4")


class Streaming(support.WholeRun):
    def write(self, name, **storage):
        """A shard of 8 MiB, for a budget of 2, whose features are stored that way."""
        features, labels = examples()
        path = self.folder / name / "shard-00000.h5"
        path.parent.mkdir()
        with h5py.File(path, "w", libver="latest") as f:
            f.attrs.update(format="fedmpi-shard", version=1, task="classification", classes=10)
            f.create_dataset("features", data=features, **storage).attrs["scale"] = 1 / 255
            f.create_dataset("labels", data=labels, **({"chunks": True, "fletcher32": True} if storage else {}))
            f["clients/offsets"] = np.concatenate([[0], np.cumsum(SIZES)]).astype("u8")
        return path

    def test_same_bits_as_from_memory(self):
        path = self.write("plain", chunks=(1000, WIDTH), fletcher32=True)
        cases = [(ranks, threads, memory) for ranks in (0, 2, 3) for threads in (1, 2) for memory in (0, 2)]

        def run(ranks, threads, memory):
            name = f"run-{ranks}-{threads}-{memory}"
            ended = self.train(name, {"data.shards": path, "federation.threads": threads, "data.memory": memory,
                                      **OPTIONS}, ranks)
            rows = self.history(name)
            return ended.sha256, [rows[c].tolist() for c in rows.dtype.names if c.startswith("client_")]

        ends = support.together([lambda c=c: run(*c) for c in cases])
        for case, end in zip(cases, ends):
            with self.subTest(case=case):
                self.assertEqual(repr(end), repr(ends[0]))  # NaN where nothing was evaluated

    def test_every_way_of_storing(self):
        ways = {
            "contiguous": {}, "deflate": {"chunks": (700, WIDTH), "compression": "gzip"},
            "both": {"chunks": (700, WIDTH), "compression": "gzip", "shuffle": True, "fletcher32": True},
            "no filter": {"chunks": (700, WIDTH)}, "tiles": {"chunks": (512, 100), "fletcher32": True},
            "plain": {"chunks": (701, WIDTH), "fletcher32": True}, "chosen by h5py": {"chunks": True, "fletcher32": True},
        }
        paths = [self.write(name, **storage) for name, storage in ways.items()]
        cases = [(path, memory) for path in paths for memory in (0, 2)]
        ends = support.together([
            lambda c=c: self.train(f"run-{c[0].parent.name}-{c[1]}", {"data.shards": c[0], "data.memory": c[1],
                                                                      **OPTIONS}).sha256 for c in cases])
        for case, end in zip(cases, ends):
            with self.subTest(case=case):
                self.assertEqual(end, ends[0])

    def test_damage_is_found_before_the_first_round(self):
        path = self.write("damaged", chunks=(1000, WIDTH), fletcher32=True)
        content = bytearray(path.read_bytes())
        at = content.index(examples()[0][5000].tobytes())
        content[at + 9] ^= 4
        path.write_bytes(content)
        for memory in 0, 2:
            for ranks in 0, 3:
                ended = self.train(f"run-{memory}-{ranks}", {"data.shards": path, "data.memory": memory, **OPTIONS}, ranks,
                                   code=BAD_DATA)
                self.assertIn(f"{path}: /features: expected readable data, found a damaged block among those of rows",
                              ended.err)

    def test_a_change_during_the_run_ends_it(self):
        for ranks in 0, 3:
            path = self.write(f"changed-{ranks}", chunks=(1000, WIDTH), fletcher32=True)
            run = self.folder / f"run-{ranks}"
            started = support.Started("train", *support.words_of({
                **OPTIONS, "run.dir": run, "data.shards": path, "data.memory": 2, "federation.cohort": 0,
                "federation.rounds": 1_000_000, "eval.every": 0}), ranks=ranks)
            history = run / "history.csv"
            while started.process.poll() is None and not (history.exists() and history.read_text().count("\n") > 3):
                time.sleep(0.05)
            place = path.read_bytes().index(examples()[0][-1].tobytes())
            with open(path, "r+b") as f:
                f.seek(place + 9)
                f.write(bytes([examples()[0][-1][9] ^ 4]))
            ended = started.wait()
            self.assertEqual(ended.code, BAD_DATA, str(ended))
            self.assertIn(f"{path}: rows {sum(SIZES[:-1])} to {sum(SIZES) - 1}: expected the values that were there",
                          ended.err)

    def test_too_little_memory(self):
        path = self.write("large", chunks=(1000, WIDTH), fletcher32=True)
        ended = self.train("run", {"data.shards": path, "data.memory": 1, "federation.threads": 3, **OPTIONS}, 3,
                           code=USAGE)
        self.assertIn("data.memory: expected at least 2 MiB", ended.err)
        self.assertIn("found 1", ended.err)
        ended = self.train("run", {"data.shards": path, "data.memory": -1, **OPTIONS}, code=USAGE)
        self.assertIn("data.memory: expected 0 or more", ended.err)


if __name__ == "__main__":
    support.main()
