"""FedAvg as a lean PyTorch loop: one resident model whose parameters are updated in place, batches cut from a
permuted tensor, no DataLoader and no optimizer object. Prints one JSON object."""
import argparse
import json
import time

import numpy
import torch

import shards

WIDTHS = {"softmax": [], "mlp": [128], "2nn": [200, 200]}


def make_parameters(widths):
    """Like fedmpi: He initialisation; a model without hidden layers starts at zero."""
    parameters = []
    for layer, (inputs, outputs) in enumerate(zip(widths, widths[1:])):
        last = layer == len(widths) - 2
        deviation = 0.0 if len(widths) == 2 else ((1.0 if last else 2.0) / inputs) ** 0.5
        parameters += [torch.randn(outputs, inputs) * deviation, torch.zeros(outputs)]
    return [p.requires_grad_() for p in parameters]


def forward(parameters, x):
    for i in range(0, len(parameters) - 2, 2):
        x = torch.relu_(torch.nn.functional.linear(x, parameters[i], parameters[i + 1]))
    return torch.nn.functional.linear(x, parameters[-2], parameters[-1])


def train_client(parameters, features, labels, batch, lr):
    order = torch.randperm(len(labels))
    x, y = features[order], labels[order]
    for begin in range(0, len(y), batch):
        loss = torch.nn.functional.cross_entropy(forward(parameters, x[begin:begin + batch]), y[begin:begin + batch])
        gradients = torch.autograd.grad(loss, parameters)
        with torch.no_grad():
            torch._foreach_add_(parameters, gradients, alpha=-lr)


def train_round(parameters, total, clients, offsets, features, labels, batch, lr):
    """Leaves in `parameters` the mean, weighted by examples, of what the clients made of them."""
    with torch.no_grad():
        start = [p.clone() for p in parameters]
        torch._foreach_zero_(total)
    examples = sum(offsets[c + 1] - offsets[c] for c in clients)
    for c in clients:
        begin, end = offsets[c], offsets[c + 1]
        with torch.no_grad():
            for p, s in zip(parameters, start):
                p.copy_(s)
        train_client(parameters, features[begin:end], labels[begin:end], batch, lr)
        with torch.no_grad():
            torch._foreach_add_(total, parameters, alpha=(end - begin) / examples)
    with torch.no_grad():
        for p, s in zip(parameters, total):
            p.copy_(s)


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--shard", required=True)
    parser.add_argument("--test", required=True)
    parser.add_argument("--model", choices=WIDTHS, required=True)
    parser.add_argument("--batch", type=int, default=10)
    parser.add_argument("--cohort", type=int, default=100)
    parser.add_argument("--rounds", type=int, default=10)
    parser.add_argument("--lr", type=float, default=0.1)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--seconds", type=float, default=0, help="stop early after so long")
    options = parser.parse_args()
    torch.manual_seed(options.seed)
    random = numpy.random.default_rng(options.seed)
    features, labels, offsets = shards.load(options.shard)
    features, labels, offsets = torch.from_numpy(features), torch.from_numpy(labels), offsets.tolist()
    parameters = make_parameters([features.shape[1], *WIDTHS[options.model], int(labels.max()) + 1])
    total = [torch.zeros_like(p, requires_grad=False) for p in parameters]

    seconds, cpu_seconds = [], []
    for _ in range(options.rounds):
        cohort = random.choice(len(offsets) - 1, options.cohort, replace=False).tolist()
        begin, cpu_begin = time.perf_counter(), time.process_time()
        train_round(parameters, total, cohort, offsets, features, labels, options.batch, options.lr)
        seconds.append(time.perf_counter() - begin)
        cpu_seconds.append(time.process_time() - cpu_begin)
        if options.seconds and len(seconds) > 1 and sum(seconds) > options.seconds:
            break

    test_features, test_labels, _ = shards.load(options.test)
    with torch.no_grad():
        predicted = forward(parameters, torch.from_numpy(test_features)).argmax(1).numpy()
    print(json.dumps({
        "clients_per_second": options.cohort / float(numpy.median(seconds)),
        "clients_per_cpu_second": options.cohort / float(numpy.median(cpu_seconds)),
        "rounds": len(seconds),
        "accuracy": float((predicted == test_labels).mean()),
        "threads": torch.get_num_threads(),
    }))


if __name__ == "__main__":
    main()
