"""Loads a shard with h5py, as stored, and prints the median time as JSON."""
import argparse
import json
import time

import h5py
import numpy


def load(path):
    with h5py.File(path) as file:
        return file["features"][:], file["labels"][:], file["clients/offsets"][:]


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("shard")
    parser.add_argument("--repeat", type=int, default=7)
    options = parser.parse_args()
    seconds, cpu_seconds = [], []
    for _ in range(options.repeat):
        begin, cpu_begin = time.perf_counter(), time.process_time()
        features, labels, offsets = load(options.shard)
        seconds.append(time.perf_counter() - begin)
        cpu_seconds.append(time.process_time() - cpu_begin)
        assert len(features) == len(labels) == offsets[-1]
    print(json.dumps({"milliseconds": 1e3 * float(numpy.median(seconds)),
                      "cpu_milliseconds": 1e3 * float(numpy.median(cpu_seconds)),
                      "bytes": features.nbytes + labels.nbytes}))


if __name__ == "__main__":
    main()
