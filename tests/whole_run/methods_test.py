"""Every method of tests/methods/: the weights of its oracle, the same bits on any ranks and threads, and the same after a
stop and a resume on others. A method is a file there and a step in oracle.METHODS."""

import configparser
import pathlib

import h5py
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

    def kept(self, run):
        """{client: what it keeps}, of the newest checkpoint, whichever files hold it."""
        folder = sorted((self.folder / run).glob("clients-*"))[-1]
        found = {}
        for path in folder.glob("*.h5"):
            with h5py.File(path) as f:
                found.update(zip(f["clients"][:].tolist(), f["states/control"][:]))
        return found

    def test_what_clients_keep_is_the_same_whatever_befalls_a_round(self):
        """SCAFFOLD with updates that outgrow the first scale, so that round 1 is trained twice, and with a client whose
        update is not finite, which is left out: on 3 ranks, stopped in the middle, continued on 5, with threads."""
        random = np.random.default_rng(1)
        sizes = [20, 5, 40, 11, 7, 30]
        features = random.normal(size=(sum(sizes), 6)).astype("f4")
        features[20:25] = 3e38  # of client 1
        shards = support.write_shard(self.folder / "shards" / "shard-00000.h5", features,
                                     random.integers(0, 3, sum(sizes)).astype("i4"), sizes).parent
        base = {"data.shards": shards, "model.kind": "mlp", "model.hidden": "8", "client.algorithm": "scaffold",
                "client.lr": 1e-4, "client.batch": 4, "federation.bad-update": "drop", "eval.every": 0,
                "run.checkpoint-every": 2}
        alone = self.train("alone", {**base, "federation.rounds": 7})
        self.train("run", {**base, "federation.rounds": 4, "federation.threads": 2}, ranks=3)
        for options in ({"federation.rounds": 4}, {"federation.rounds": 7, "federation.threads": 2}):
            ended = self.train("run", {**base, **options, "run.resume": "auto"}, ranks=5)
        self.assertEqual(ended.sha256, alone.sha256)

        self.assertTrue(all(row["dropped"] == 1 for row in self.history("run")[1:]))
        expected, found = self.kept("alone"), self.kept("run")
        self.assertEqual(sorted(found), [0, 2, 3, 4, 5])
        for client, values in expected.items():
            self.assertEqual(found[client].tobytes(), values.tobytes())
            self.assertTrue(np.abs(values).max() > 0)
        self.assertEqual(len(list((self.folder / "run").glob("clients-*"))),
                         len(list((self.folder / "run").glob("checkpoint-*.h5"))) + 1)

    def test_clients_whose_states_are_not_those_of_the_checkpoint_are_refused(self):
        shards = self.shard("synthetic:0.5,0.5", clients=6)
        options = {"data.shards": shards, "model.kind": "softmax", "client.algorithm": "scaffold", "eval.every": 0}
        self.train("run", {**options, "federation.rounds": 2}, ranks=3)
        states = self.folder / "run" / "clients-000002"
        files = sorted(states.glob("*.h5"))
        files[0].rename(self.folder / "away.h5")
        again = lambda: self.train("run", {**options, "federation.rounds": 3, "run.resume": "auto"}, ranks=2,
                                   code=support.BAD_DATA)
        self.assertRegex(again().diagnostics[0], "what 6 clients kept after round 2, found that of [1-5]")
        (self.folder / "away.h5").rename(files[0])
        with h5py.File(files[0], "r+") as f:
            f["states/control"][0, 0] += 1
        self.assertRegex(again().diagnostics[0], "what 6 clients kept after round 2, found something else")

    def test_states_may_lie_in_a_directory_of_the_participants_own(self):
        shards = self.shard("synthetic:0.5,0.5", clients=6)
        options = {"data.shards": shards, "model.kind": "softmax", "client.algorithm": "scaffold", "eval.every": 0}
        alone = self.train("alone", {**options, "federation.rounds": 4})
        own = {**options, "run.client-states": self.folder / "own"}
        self.train("run", {**own, "federation.rounds": 2}, ranks=3)
        self.assertEqual(list((self.folder / "run").glob("clients-*")), [])
        after = self.train("run", {**own, "federation.rounds": 4, "run.resume": "auto"}, ranks=4)
        self.assertEqual(after.sha256, alone.sha256)


if __name__ == "__main__":
    support.main()
