"""FedAvg gives the weights that thirty lines of serial NumPy give (oracle.fedavg), to float rounding.

Batches are whole clients, since the oracle does not know in which order fedmpi draws examples."""

import numpy as np

import oracle
import support

ROUNDS = 6
ROUNDING = 5e-6  # of float32, over some dozen steps


class FedAvg(support.WholeRun):
    def clients(self, shards):
        found = []
        for path in sorted(shards.glob("shard-*.h5")):
            x, y, rows = support.read_shard(path)
            found += [(x[r], y[r]) for r in rows]
        return found

    def assert_same_weights(self, shards, ranks, epochs=3, lr=0.1, batch=0, kind="mlp", activation="relu", l2=0.0,
                            momentum=0.0, weight_decay=0.0, lr_decay=1.0, equal=False):
        options = {
            "data.shards": shards, "model.kind": kind, **({"model.hidden": "24,12", "model.activation": activation} if kind == "mlp" else {}),
            "model.l2": l2, "client.epochs": epochs, "client.batch": batch, "client.lr": lr,
            "client.momentum": momentum, "client.weight-decay": weight_decay, "client.lr-decay": lr_decay,
            "aggregate.weights": "equal" if equal else "examples", "eval.every": 0,
        }
        self.train("begin", {**options, "federation.rounds": 0})
        begin = self.weights("begin")
        self.train("run", {**options, "federation.rounds": ROUNDS}, ranks)
        found = support.flat(self.weights("run"))
        expected = support.flat(oracle.fedavg(
            begin, self.clients(shards), ROUNDS, lr, epochs, momentum=momentum, weight_decay=weight_decay,
            lr_decay=lr_decay, equal=equal, activation=activation, l2=l2))
        self.assertGreater(np.linalg.norm(expected - support.flat(begin)), 0.1)
        np.testing.assert_allclose(found, expected, rtol=0, atol=ROUNDING * np.abs(expected).max())

    def synthetic(self):
        return self.shard("synthetic:0.5,0.5", clients=12, files=4)

    def test_multi_layer_perceptron(self):
        self.assert_same_weights(self.synthetic(), ranks=0, activation="tanh")

    def test_relu(self):
        self.assert_same_weights(self.synthetic(), ranks=3, lr=0.02)

    def test_softmax(self):
        self.assert_same_weights(self.synthetic(), ranks=5, kind="softmax", lr=0.05)

    def test_momentum_weight_decay_and_penalty(self):
        self.assert_same_weights(self.synthetic(), ranks=2, activation="tanh", momentum=0.8, weight_decay=0.05, l2=0.02)

    def test_learning_rate_that_decays(self):
        self.assert_same_weights(self.synthetic(), ranks=2, kind="softmax", lr=0.05, lr_decay=0.7)

    def test_equal_weights(self):
        self.assert_same_weights(self.synthetic(), ranks=3, activation="tanh", equal=True)

    def test_a_batch_larger_than_every_client(self):
        self.assert_same_weights(self.synthetic(), ranks=3, activation="tanh", batch=100_000)

    def test_regression(self):
        shards = self.shard("linear:features=8,examples=900,targets=2", clients=6, skew=1)
        self.assert_same_weights(shards, ranks=4, activation="sigmoid", lr=0.2)


if __name__ == "__main__":
    support.main()
