"""Every method of tests/methods/: the weights of its oracle, the same bits on any ranks and threads, and the same after a
stop and a resume on others. A method is a file there and a step in oracle.METHODS."""

import configparser
import pathlib

import numpy as np

import oracle
import support

ROUNDS, PAUSE = 6, 4
ROUNDING = 1e-5  # of float32, over some dozen steps
FOLDER = pathlib.Path(__file__).parent.parent / "methods"


class Methods(support.WholeRun):
    def options(self, name):
        config = configparser.ConfigParser()
        config.read(FOLDER / f"{name}.ini")
        return dict(config["client"])

    def clients(self, shards):
        found = []
        for path in sorted(shards.glob("shard-*.h5")):
            x, y, rows = support.read_shard(path)
            found += [(x[r], y[r]) for r in rows]
        return found

    def assert_method(self, name, shards):
        options = self.options(name)
        numbers = {k: float(v) for k, v in options.items() if k != "algorithm"}
        base = {"data.shards": shards, "model.kind": "mlp", "model.hidden": "16", "model.activation": "tanh",
                "eval.every": 0, **{f"client.{k}": v for k, v in options.items()}}
        run = lambda folder, ranks, rounds, **more: self.train(
            f"{name}-{folder}", {**base, "federation.rounds": rounds, **more}, ranks)

        run("begin", 0, 0)
        weights, kept = self.weights(f"{name}-begin"), {}
        begin = support.flat(weights)
        for r in range(ROUNDS):
            weights = oracle.METHODS[name](weights, self.clients(shards), numbers, kept, r, activation="tanh")
        alone = run("alone", 0, ROUNDS)
        expected = support.flat(weights)
        self.assertGreater(np.linalg.norm(expected - begin), 0.1)
        np.testing.assert_allclose(support.flat(self.weights(f"{name}-alone")), expected, rtol=0,
                                   atol=ROUNDING * np.abs(expected).max())

        self.assertEqual(run("three", 3, ROUNDS, **{"federation.threads": 2}).sha256, alone.sha256)
        run("paused", 3, PAUSE)
        resumed = run("paused", 5, ROUNDS, **{"run.resume": "auto", "run.shared-memory": "off"})
        self.assertEqual(resumed.sha256, alone.sha256)

    def test_every_method_has_a_case(self):
        self.assertEqual(sorted(support.choices("client.algorithm")), sorted(p.stem for p in FOLDER.glob("*.ini")))
        self.assertEqual(sorted(oracle.METHODS), sorted(p.stem for p in FOLDER.glob("*.ini")))

    def test_every_method(self):
        shards = self.shard("synthetic:0.5,0.5", clients=12, files=4)
        for case in sorted(FOLDER.glob("*.ini")):
            with self.subTest(method=case.stem):
                self.assert_method(case.stem, shards)


if __name__ == "__main__":
    support.main()
