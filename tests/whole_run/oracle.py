"""Networks and federated averaging in NumPy and float64, written to be read: what fedmpi is compared with.

Weights are a list of (kernel [inputs, outputs], bias) per layer. Integer labels are classes, for which the loss is
cross-entropy; others are targets, for which it is half the squared error."""

import numpy as np

ACTIVATIONS = {  # value, and derivative by value
    "relu": (lambda z: np.maximum(z, 0), lambda a: (a > 0) * 1.0),
    "tanh": (np.tanh, lambda a: 1 - a * a),
    "sigmoid": (lambda z: 1 / (1 + np.exp(-z)), lambda a: a * (1 - a)),
}


def layer_values(weights, x, activation="relu"):
    """The inputs of every layer, and last the outputs of the network."""
    values = [np.asarray(x, "f8")]
    for i, (kernel, bias) in enumerate(weights):
        z = values[-1] @ kernel + bias
        values.append(z if i + 1 == len(weights) else ACTIVATIONS[activation][0](z))
    return values


def outputs(weights, x, activation="relu"):
    return layer_values(weights, x, activation)[-1]


def errors_and_losses(z, y):
    """∂ loss / ∂ outputs and the loss, of every example."""
    if np.asarray(y).dtype.kind not in "iu":
        e = z - np.asarray(y, "f8").reshape(z.shape)
        return e, 0.5 * (e * e).sum(axis=1)
    rows = np.arange(len(z))
    if z.shape[1] == 1:  # logistic regression: the output is the log-odds of class 1
        z = np.hstack([np.zeros_like(z), z])
        e, losses = errors_and_losses(z, y)
        return e[:, 1:], losses
    shifted = z - z.max(axis=1, keepdims=True)
    p = np.exp(shifted)
    sums = p.sum(axis=1, keepdims=True)
    e = p / sums
    e[rows, y] -= 1
    return e, np.log(sums[:, 0]) - shifted[rows, y]


def loss(weights, x, y, activation="relu"):
    return errors_and_losses(outputs(weights, x, activation), y)[1].mean()


def gradient(weights, x, y, activation="relu", l2=0.0):
    """Of the mean loss over the examples plus l2/2 ‖kernels‖²; shaped as the weights."""
    values = layer_values(weights, x, activation)
    e = errors_and_losses(values[-1], y)[0] / len(x)
    slope = ACTIVATIONS[activation][1]
    result = []
    for (kernel, _), value in reversed(list(zip(weights, values[:-1]))):
        result.append((value.T @ e + l2 * kernel, e.sum(axis=0)))
        e = (e @ kernel.T) * slope(value)
    return result[::-1]


def metric(weights, x, y, activation="relu"):
    """Accuracy, or the root mean squared error."""
    z = outputs(weights, x, activation)
    if np.asarray(y).dtype.kind not in "iu":
        return float(np.sqrt(((z - np.asarray(y, "f8").reshape(z.shape)) ** 2).mean()))
    predicted = z[:, 0] > 0 if z.shape[1] == 1 else z.argmax(axis=1)
    return float((predicted == y).mean())


def add(weights, factor, direction):
    return [(k + factor * dk, b + factor * db) for (k, b), (dk, db) in zip(weights, direction)]


def fedavg(weights, clients, rounds, lr, epochs, momentum=0.0, weight_decay=0.0, lr_decay=1.0, equal=False, **model):
    """Serial FedAvg (McMahan et al. 2017) over all of `clients` [(x, y)] with full batches."""
    shares = np.array([1 if equal else len(x) for x, _ in clients])
    shares = shares / shares.sum()
    for round_number in range(rounds):
        step = lr * lr_decay**round_number
        average = add(weights, -1.0, weights)
        for share, (x, y) in zip(shares, clients):
            local, velocity = weights, add(weights, -1.0, weights)
            for _ in range(epochs):
                g = add(gradient(local, x, y, **model), weight_decay, local)
                velocity = add(g, momentum, velocity)
                local = add(local, -step, velocity)
            average = add(average, share, local)
        weights = average
    return weights


# A method's step: from the global weights and what it keeps, to the weights after a round over all clients, each in
# proportion to its examples. `kept` is a dictionary that lives as long as the run. METHODS has a function for every
# tests/methods/NAME.ini, whose section [client] are its options `o`.

def descend(weights, x, y, o, round_number, term, **model):
    """Full-batch steps from `weights`, each along the gradient, weight decay and term(local) together."""
    lr = o.get("lr", 0.1) * o.get("lr-decay", 1.0) ** round_number
    local, velocity = weights, add(weights, -1.0, weights)
    for _ in range(int(o.get("epochs", 1))):
        g = add(add(gradient(local, x, y, **model), o.get("weight-decay", 0.0), local), 1.0, term(local))
        velocity = add(g, o.get("momentum", 0.0), velocity)
        local = add(local, -lr, velocity)
    return add(local, -1.0, weights)


def averaged(weights, clients, update):
    """The mean over the clients of update(number, x, y), weighted by examples."""
    total = sum(len(x) for x, _ in clients)
    mean = add(weights, -1.0, weights)
    for k, (x, y) in enumerate(clients):
        mean = add(mean, len(x) / total, update(k, x, y))
    return mean


def fedavg_step(weights, clients, o, kept, round_number, **model):
    zero = add(weights, -1.0, weights)
    return add(weights, 1.0, averaged(
        weights, clients, lambda k, x, y: descend(weights, x, y, o, round_number, lambda w: zero, **model)))


def fedprox_step(weights, clients, o, kept, round_number, **model):
    """Li et al. 2020: the term is mu (w - w0)."""
    mu = o["proximal"]
    zero = add(weights, -1.0, weights)
    return add(weights, 1.0, averaged(weights, clients, lambda k, x, y: descend(
        weights, x, y, o, round_number, lambda w: add(zero, mu, add(w, -1.0, weights)), **model)))


def scaffold_step(weights, clients, o, kept, round_number, **model):
    """Karimireddy et al. 2020, option II: the term is c - c_k."""
    zero = add(weights, -1.0, weights)
    server, own = kept.setdefault("server", zero), kept.setdefault("clients", [zero] * len(clients))
    steps, lr = int(o["epochs"]), o["lr"] * o.get("lr-decay", 1.0) ** round_number
    changes = {}

    def update(k, x, y):
        shift = add(server, -1.0, own[k])
        delta = descend(weights, x, y, o, round_number, lambda w: shift, **model)
        changes[k] = add(add(zero, -1.0, server), -1.0 / (steps * lr), delta)
        return delta

    mean = averaged(weights, clients, update)
    kept["server"] = add(server, 1.0, averaged(weights, clients, lambda k, x, y: changes[k]))
    kept["clients"] = [add(own[k], 1.0, changes[k]) for k in range(len(clients))]
    return add(weights, 1.0, mean)


METHODS = {"fedsgd": fedavg_step, "fedavg": fedavg_step, "fedprox": fedprox_step, "scaffold": scaffold_step}
