"""Softmax regression by full-batch gradient descent in NumPy over all examples of a shard: what FedSGD over all
of its clients computes. Prints one JSON object."""
import argparse
import json
import time

import numpy

import shards


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--shard", required=True)
    parser.add_argument("--test", required=True)
    parser.add_argument("--steps", type=int, default=20)
    parser.add_argument("--lr", type=float, default=0.1)
    options = parser.parse_args()
    x, labels, _ = shards.load(options.shard)
    classes = int(labels.max()) + 1
    kernel, bias = numpy.zeros((x.shape[1], classes), numpy.float32), numpy.zeros(classes, numpy.float32)
    rows = numpy.arange(len(labels))
    lr = numpy.float32(options.lr / len(labels))
    seconds, cpu_seconds = [], []
    for _ in range(options.steps):
        begin, cpu_begin = time.perf_counter(), time.process_time()
        errors = x @ kernel
        errors += bias
        errors -= errors.max(axis=1, keepdims=True)
        numpy.exp(errors, out=errors)
        errors /= errors.sum(axis=1, keepdims=True)
        errors[rows, labels] -= 1
        kernel -= lr * (x.T @ errors)
        bias -= lr * errors.sum(axis=0)
        seconds.append(time.perf_counter() - begin)
        cpu_seconds.append(time.process_time() - cpu_begin)
    test, test_labels, _ = shards.load(options.test)
    accuracy = float(((test @ kernel + bias).argmax(1) == test_labels).mean())
    print(json.dumps({"steps_per_second": 1 / float(numpy.median(seconds)),
                      "steps_per_cpu_second": 1 / float(numpy.median(cpu_seconds)), "accuracy": accuracy}))


if __name__ == "__main__":
    main()
