// Reading a file in a process of its own before this one trusts it: a file with forged checksums can make the HDF5
// library crash or run forever, and that must not take the job with it.
//
// A small process without threads is forked from this one and ends with it. It never calls the library itself, but
// forks a worker that tries one file after another. A worker that crashes or does not come to an end is replaced; and
// what it has against a file counts only if that is its first one: another worker is asked else, since a file before
// may have done it harm. So each file is judged by itself, at the price of a fork for those that are refused.
#pragma once

#include <cstdint>
#include <string>

namespace fedmpi::hdf5 {

// What this process is going to do with the file: rows `first` … `first + count - 1`, where that means something.
using Trial = void (*)(const std::string& path, std::uint64_t first, std::uint64_t count);

// Starts the process that probes. Before MPI is started is the best time, since not every network bears a fork()
// later on; without that the first probe() starts it.
void start_probing();

// The Error that `trial` throws, so that this process never sees the library fail: what it frees and forgets then is
// its weakest side. Error(bad_data) when `trial` crashes on that file, or takes more than 2 s of computing, 1 s per
// 20 MB of file and 1 s per 100 MB that come out of it: `bytes`, where that may be more than the file is long.
// Safe to be called by several threads.
void probe(const std::string& path, Trial trial, std::uint64_t first = 0, std::uint64_t count = 0,
           std::uint64_t bytes = 0);

// Has that file tried beside whatever this process does until it calls probe(path, trial). One file at a time.
void probe_soon(const std::string& path, Trial trial);

}  // namespace fedmpi::hdf5
