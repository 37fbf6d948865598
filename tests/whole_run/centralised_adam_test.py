"""Dense(10, relu) → Dense(1), squared error, Adam at the server: a nonlinear function over 4 clients is learned as
well as by the same network trained in one place."""

import numpy as np

import oracle
import support

ROUNDS = 600
LR, BETA1, BETA2, EPSILON = 0.02, 0.9, 0.99, 1e-3


def adam(weights, x, y):
    """Adam (Kingma and Ba 2015) on the gradient over all examples; the loss before each step, and the weights."""
    first = second = oracle.add(weights, -1.0, weights)
    losses = []
    for t in range(1, ROUNDS + 1):
        losses.append(oracle.loss(weights, x, y))
        stepped = []
        g = oracle.gradient(weights, x, y)
        first = oracle.add([(BETA1 * k, BETA1 * b) for k, b in first], 1 - BETA1, g)
        second = oracle.add([(BETA2 * k, BETA2 * b) for k, b in second], 1 - BETA2, [(k * k, b * b) for k, b in g])
        for layer, m, v in zip(weights, first, second):
            stepped.append(tuple(w - LR * a / (1 - BETA1**t) / (np.sqrt(b / (1 - BETA2**t)) + EPSILON)
                                 for w, a, b in zip(layer, m, v)))
        weights = stepped
    return losses, weights


class CentralisedAdam(support.WholeRun):
    def test_learns_as_well_as_in_one_place(self):
        draw = np.random.default_rng(2)
        sizes = [40, 310, 90, 160]
        x = np.sort(draw.uniform(-2, 2, (sum(sizes), 1)), axis=0).astype("f4")  # each client has a piece of the axis
        y = (np.sin(2 * x) + 0.05 * draw.normal(size=x.shape)).astype("f4")
        shard = support.write_shard(self.folder / "shards/shard-00000.h5", x, y, sizes)
        options = {
            "data.shards": shard, "model.kind": "mlp", "model.hidden": "10", "model.activation": "relu",
            "model.loss": "squared", "client.algorithm": "fedsgd", "client.lr": 1, "server.optimizer": "adam",
            "server.lr": LR, "server.beta1": BETA1, "server.beta2": BETA2, "server.epsilon": EPSILON, "eval.every": 0,
        }
        self.train("begin", {**options, "federation.rounds": 0})
        losses, central = adam(self.weights("begin"), x, y)
        self.train("run", {**options, "federation.rounds": ROUNDS}, ranks=5)

        federated = self.history("run")["train_loss"][1:]
        np.testing.assert_allclose(federated[:20], losses[:20], rtol=1e-4)
        loss, in_one_place = oracle.loss(self.weights("run"), x, y), oracle.loss(central, x, y)
        self.assertLess(abs(loss - in_one_place), 0.05 * in_one_place)

        design = np.hstack([x, np.ones_like(x)])
        line = np.linalg.lstsq(design, y, rcond=None)[0]
        self.assertLess(loss, 0.1 * 0.5 * np.mean((design @ line - y) ** 2))


if __name__ == "__main__":
    support.main()
