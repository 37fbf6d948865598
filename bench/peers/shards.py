"""Reads a shard of fedmpi (data/README.md) as any program would: with h5py."""
import h5py
import numpy


def load(path):
    """Features [N x d] float32, labels [N] int64, and the first row of each client and the end [C+1]."""
    with h5py.File(path) as file:
        stored = file["features"]
        scale, offset = stored.attrs.get("scale", 1.0), stored.attrs.get("offset", 0.0)
        features = stored[:].reshape(len(stored), -1).astype(numpy.float32)
        features *= numpy.float32(scale)
        features += numpy.float32(offset)
        return features, file["labels"][:].astype(numpy.int64), file["clients/offsets"][:].astype(numpy.int64)
