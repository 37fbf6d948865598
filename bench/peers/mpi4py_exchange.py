"""Weights out and the sum back with mpi4py: as pickled objects, the way of most Python frameworks, and as
buffers; new values each time, read by those who get them. Prints one JSON object:
{"pickled/7850": {"median_us": ..., "best_us": ...}, ...}."""
import argparse
import json

import numpy
from mpi4py import MPI


def pickled(comm, weights, update):
    received = comm.bcast(weights if comm.rank == 0 else None)
    if comm.rank != 0:
        received.sum()
    return received, comm.reduce(update)


def buffers(comm, weights, update, total=[]):
    if comm.rank == 0 and (not total or total[0].size != update.size):
        total[:] = [numpy.empty_like(update)]
    comm.Bcast(weights)
    if comm.rank != 0:
        weights.sum()
    comm.Reduce(update, total[0] if comm.rank == 0 else None)
    return weights, total[0] if comm.rank == 0 else None


def all_are(values, expected):
    """By the first, the middle and the last."""
    return values[0] == values[values.size // 2] == values[-1] == expected


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--parameters", type=int, nargs="+", default=[7850, 100_000, 1_000_000, 10_000_000])
    options = parser.parse_args()
    comm = MPI.COMM_WORLD
    results = {}
    for d in options.parameters:
        for name, exchange in ("pickled", pickled), ("buffers", buffers):
            weights, update = numpy.empty(d, numpy.float32), numpy.empty(d, numpy.float32)
            seconds = []
            for i in range(min(1000, max(5, 50_000_000 // d))):
                value = 1 + i % 100
                comm.Barrier()  # now rank 0 has read what it got last
                if comm.rank == 0:
                    weights.fill(value)
                update.fill(value)
                comm.Barrier()
                begin = MPI.Wtime()
                received, total = exchange(comm, weights, update)
                if comm.rank == 0:
                    total.sum()
                seconds.append(MPI.Wtime() - begin)
                assert all_are(received, value)
                assert comm.rank != 0 or all_are(total, value * comm.size)
            if comm.rank == 0:
                results[f"{name}/{d}"] = {"median_us": 1e6 * float(numpy.median(seconds)),
                                          "best_us": 1e6 * min(seconds)}
    if comm.rank == 0:
        print(json.dumps(results))


if __name__ == "__main__":
    main()
