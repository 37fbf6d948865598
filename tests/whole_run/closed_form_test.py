"""Results that are known without a federation: least squares, one step of gradient descent, and the end of a run that
has converged."""

import shutil

import numpy as np

import oracle
import support

ALL_TOGETHER = {"client.algorithm": "fedsgd", "client.lr": 1, "eval.every": 0}
ROUNDING = 2e-6  # of float32, over sums of some hundred terms


def relative(found, expected):
    return np.linalg.norm(found - expected) / np.linalg.norm(expected)


class LeastSquares(support.WholeRun):
    def assert_reaches_least_squares(self, shards, ranks):
        parts = [support.read_shard(path) for path in sorted(shards.glob("shard-*.h5"))]
        x, y = (np.vstack([part[i] for part in parts]) for i in (0, 1))
        self.assertEqual(sum(len(part[2]) for part in parts), 7)
        design = np.hstack([x, np.ones((len(x), 1))])
        solution = np.linalg.lstsq(design, y.astype("f8"), rcond=None)[0]
        self.train("run", {"data.shards": shards, "model.kind": "linear", **ALL_TOGETHER, "client.lr": 0.4,
                           "federation.rounds": 300}, ranks)
        kernel, bias = self.weights("run")[0]
        self.assertLess(relative(np.vstack([kernel, bias]), solution), 1e-5)

    def test_on_generated_data(self):
        shards = self.shard("linear:features=12,examples=3000,noise=0.5,targets=2", clients=7, skew=1, files=3)
        self.assert_reaches_least_squares(shards, ranks=4)

    def test_on_shards_written_by_h5py(self):
        draw = np.random.default_rng(5)
        for i, size in enumerate((3, 700, 50, 120, 9, 260, 31)):
            x = draw.normal(0.2 * i - 0.6, 1.0, (size, 4)).astype("f4")
            y = (x @ draw.normal(size=(4, 1)) + draw.normal(size=(size, 1))).astype("f4")  # each client its own law
            support.write_shard(self.folder / f"shards/shard-{i:05}.h5", x, y, sizes=[size])
        self.assert_reaches_least_squares(self.folder / "shards", ranks=0)


class OneStep(support.WholeRun):
    """One round of FedSGD over all clients is one step of gradient descent over all examples."""

    def assert_one_step(self, shards, ranks, lr=0.3, l2=0.0, **model):
        options = {"data.shards": shards, **ALL_TOGETHER, "client.lr": lr, "model.l2": l2, **{f"model.{k}": v for k, v in model.items()}}
        # A first round, so that the step is not taken from where regressions begin, at zero.
        self.train("run", {**options, "federation.rounds": 1})
        before = self.weights("run")
        self.train("run", {**options, "federation.rounds": 2, "run.resume": "auto"}, ranks)
        after = self.weights("run")
        x, y, _ = support.read_shard(shards / "shard-00000.h5")
        step = oracle.add(before, -lr, oracle.gradient(before, x, y, model.get("activation", "relu"), l2))
        self.assertGreater(relative(support.flat(before), support.flat(step)), 1e-3)
        self.assertLess(relative(support.flat(after), support.flat(step)), ROUNDING)

    def test_softmax_regression(self):
        shards = self.shard("synthetic:0.5,0.5", clients=10)
        self.assert_one_step(shards, ranks=0, kind="softmax", l2=0.01)
        self.assertEqual(self.history("run")["round"].tolist(), [0, 1, 2])

    def test_multi_layer_perceptron(self):
        shards = self.shard("synthetic:0.5,0.5", clients=10)
        for i, activation in enumerate(oracle.ACTIVATIONS):
            with self.subTest(activation=activation):
                shutil.rmtree(self.folder / "run", ignore_errors=True)
                self.assert_one_step(shards, ranks=(0, 2, 5)[i], kind="mlp", hidden="20,15", activation=activation,
                                     l2=0.02)

    def test_logistic_regression(self):
        draw = np.random.default_rng(8)
        x = draw.normal(size=(400, 9)).astype("f4")
        support.write_shard(self.folder / "shards/shard-00000.h5", x, (x[:, 0] > draw.normal(size=400)).astype("i4"),
                            sizes=[100, 7, 293])
        self.assert_one_step(self.folder / "shards", ranks=3, kind="logistic")

    def test_linear_regression_of_several_targets(self):
        shards = self.shard("linear:features=6,examples=500,targets=3", clients=5, skew=0.5)
        self.assert_one_step(shards, ranks=2, lr=0.1, kind="linear")


class Convergence(support.WholeRun):
    OPTIONS = {"model.kind": "linear", **ALL_TOGETHER, "client.lr": 0.25, "federation.rounds": 5000}

    def assert_stops(self, option, limit, norm_of):
        shards = self.shard("linear:features=5,examples=800", clients=7)
        for ranks in (0, 3):
            with self.subTest(ranks=ranks):
                run = f"run-{ranks}"
                ended = self.train(run, {"data.shards": shards, **self.OPTIONS, option: limit}, ranks)
                self.assertIn("converged", ended.out)
                norms = [norm_of(row) for row in self.history(run)[1:]]
                self.assertLess(norms[-1], limit)
                self.assertGreaterEqual(min(norms[:-1]), limit)

    def test_by_the_norm_of_the_update(self):
        self.assert_stops("stop.tolerance", 1e-3, lambda row: row["update_norm"])

    def test_by_the_norm_of_the_gradient(self):
        self.assert_stops("stop.gradient-tolerance", 1e-3, lambda row: row["update_norm"] / 0.25)

    def test_the_norm_is_that_of_the_gradient(self):
        shards = self.shard("linear:features=5,examples=800", clients=7)
        self.train("run", {"data.shards": shards, **self.OPTIONS, "federation.rounds": 1})
        x, y, _ = support.read_shard(shards / "shard-00000.h5")
        begin = [(np.zeros((5, 1)), np.zeros(1))]
        expected = np.linalg.norm(support.flat(oracle.gradient(begin, x, y)))
        np.testing.assert_allclose(self.history("run")["update_norm"][1] / 0.25, expected, rtol=1e-6)
        np.testing.assert_allclose(self.history("run")["train_loss"][1], oracle.loss(begin, x, y), rtol=1e-6)


if __name__ == "__main__":
    support.main()
