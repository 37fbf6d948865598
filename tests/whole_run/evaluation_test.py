"""What fedmpi says of a model is what NumPy computes from its weights, on the test shard and client by client."""

import re

import numpy as np

import oracle
import support

COLUMNS = ("client_mean", "client_p10", "client_p50", "client_p90", "client_worst")


class Evaluation(support.WholeRun):
    def expected(self, weights, shards, worst):
        """Overall loss and metric, and those of COLUMNS."""
        metrics, sizes, losses, all_x, all_y = [], [], [], [], []
        for path in sorted(shards.glob("shard-*.h5")):
            x, y, clients = support.read_shard(path)
            for rows in clients:
                metrics.append(oracle.metric(weights, x[rows], y[rows], "tanh"))
                losses.append(oracle.loss(weights, x[rows], y[rows], "tanh"))
                sizes.append(len(x[rows]))
            all_x.append(x)
            all_y.append(y)
        overall = oracle.metric(weights, np.vstack(all_x), np.concatenate(all_y), "tanh")
        return np.average(losses, weights=sizes), overall, [np.average(metrics, weights=sizes),
                                                            *np.quantile(metrics, [0.1, 0.5, 0.9]), worst(metrics)]

    def assert_evaluated(self, shards, metric, worst, model):
        self.train("run", {"data.shards": shards, "data.test": shards / "test.h5", "federation.rounds": 3,
                           "eval.clients": "on", "client.lr": 0.02, "model.activation": "tanh", **model}, ranks=4)
        weights = self.weights("run")
        loss, overall, clients = self.expected(weights, shards, worst)
        last = self.history("run")[-1]
        np.testing.assert_allclose([last[c] for c in COLUMNS], clients, rtol=1e-5)
        x, y, _ = support.read_shard(shards / "test.h5")
        np.testing.assert_allclose(last[f"test_{metric}"], oracle.metric(weights, x, y, "tanh"), rtol=1e-5)
        np.testing.assert_allclose(last["test_loss"], oracle.loss(weights, x, y, "tanh"), rtol=1e-5)

        printed = set()
        for ranks in (0, 2, 5):
            out = self.fedmpi("evaluate", "--checkpoint", self.folder / "run" / "latest.h5", "--data", shards,
                              "--threads", 2, ranks=ranks).out
            printed.add(out)
        self.assertEqual(len(printed), 1, printed)
        numbers = [float(n) for n in re.findall(r"(?<= )\d+\.\d+", out)]
        np.testing.assert_allclose(numbers[:2], [loss, overall], rtol=6e-6)
        np.testing.assert_allclose(numbers[2:], clients, rtol=0, atol=6e-5)

    def test_classification(self):
        shards = self.shard("synthetic:0.3,0.3", clients=23, files=3, holdout=0.2)
        self.assert_evaluated(shards, "accuracy", min, {"model.kind": "mlp", "model.hidden": "16"})

    def test_regression(self):
        shards = self.shard("linear:features=7,examples=2500,targets=2", clients=11, skew=1, holdout=0.2)
        self.assert_evaluated(shards, "rmse", max, {"model.kind": "mlp", "model.hidden": "16"})

    def test_evaluations_are_made_when_due_and_at_the_end(self):
        shards = self.shard("synthetic:0,0", clients=5, holdout=0.2)
        for every, rounds in ((0, [7]), (1, list(range(8))), (3, [0, 3, 6, 7])):
            with self.subTest(every=every):
                run = f"run-{every}"
                self.train(run, {"data.shards": shards, "data.test": shards / "test.h5", "federation.rounds": 7,
                                 "eval.every": every})
                history = self.history(run)
                self.assertEqual(history["round"][~np.isnan(history["test_loss"])].tolist(), rounds)

    def test_a_checkpoint_is_refused_for_data_of_another_shape(self):
        shards = self.shard("synthetic:0,0", clients=5)
        self.train("run", {"data.shards": shards, "federation.rounds": 1})
        other = support.write_shard(self.folder / "other.h5", np.zeros((8, 3), "f4"), np.arange(8) % 2)
        for ranks in (0, 3):
            with self.subTest(ranks=ranks):
                ended = self.fedmpi("evaluate", "--checkpoint", self.folder / "run" / "latest.h5", "--data", other,
                                    ranks=ranks, code=support.BAD_DATA)
                self.assertRegex(ended.diagnostics[0], r"other\.h5: expected 60 features .*found 3 ")


if __name__ == "__main__":
    support.main()
