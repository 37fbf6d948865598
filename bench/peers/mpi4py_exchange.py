"""Weights out and the sum back with mpi4py: as pickled objects, the way of most Python frameworks, and as
buffers. Prints one JSON object: {"pickled/7850": {"median_us": ..., "best_us": ...}, ...}."""
import argparse
import json

import numpy
from mpi4py import MPI


def pickled(comm, weights, update):
    comm.bcast(weights if comm.rank == 0 else None)
    return comm.reduce(update)


def buffers(comm, weights, update, total=[]):
    if comm.rank == 0 and (not total or total[0].size != update.size):
        total[:] = [numpy.empty_like(update)]
    comm.Bcast(weights)
    comm.Reduce(update, total[0] if comm.rank == 0 else None)
    return total[0] if comm.rank == 0 else None


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--parameters", type=int, nargs="+", default=[7850, 100_000, 1_000_000, 10_000_000])
    options = parser.parse_args()
    comm = MPI.COMM_WORLD
    results = {}
    for d in options.parameters:
        for name, exchange in ("pickled", pickled), ("buffers", buffers):
            weights, update = numpy.full(d, 0.5, numpy.float32), numpy.full(d, 0.25, numpy.float32)
            seconds = []
            for _ in range(min(1000, max(5, 50_000_000 // d))):
                comm.Barrier()
                begin = MPI.Wtime()
                total = exchange(comm, weights, update)
                seconds.append(MPI.Wtime() - begin)
            if comm.rank == 0:
                assert numpy.all(total == 0.25 * comm.size)
                results[f"{name}/{d}"] = {"median_us": 1e6 * float(numpy.median(seconds)),
                                          "best_us": 1e6 * min(seconds)}
    if comm.rank == 0:
        print(json.dumps(results))


if __name__ == "__main__":
    main()
