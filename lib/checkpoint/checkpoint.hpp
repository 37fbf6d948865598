// The run's HDF5 file: everything a run needs to go on, and everything an analyst wants to see.
#pragma once

#include <cstdint>
#include <span>
#include <string>
#include <utility>
#include <vector>

#include "base/layout.hpp"
#include "base/vector.hpp"
#include "checkpoint/history.hpp"
#include "data/schema.hpp"

namespace fedmpi::checkpoint {

struct Checkpoint {
  std::uint64_t round = 0;
  std::uint64_t seed = 0;
  std::string revision;  // of the program that wrote it
  std::string config;    // every option, as an INI text
  data::Schema schema;   // of the data the model is for
  std::uint64_t clients = 0, examples = 0;
  std::string roster;  // SHA-256 over schema, clients' sizes and data
  int exponent = 0;    // scale of the exact sum (secure/ring.hpp)
  Layout layout;
  Vector parameters;                                   // of a checkpoint that was read, or
  std::span<const float> lent;                         // of one to be written, where they are
  std::vector<std::pair<std::string, Vector>> server;  // the server optimizer's state
  std::vector<Row> history;
  std::string events;  // what befell the run beside its rounds: a line each

  std::span<const float> weights() const { return lent.empty() ? parameters : lent; }
};

std::string revision();                    // of this program
std::string metric_name(data::Task task);  // "accuracy" or "rmse"

// SHA-256 over everything in it, independent of how it is stored.
std::string digest(const Checkpoint& checkpoint);
// SHA-256 over the parameters alone: equal for equal bits.
std::string weights_digest(std::span<const float> parameters);

// Writes to path + ".partial", closes, syncs, reads back and compares, block by block, renames and syncs the
// directory. Error(cannot_create) or Error(io); a file that stood at `path` is intact until the new one is
// whole.
void write(const Checkpoint& checkpoint, const std::string& path);
// Error(bad_data) if anything is missing, damaged, or does not match the digest.
Checkpoint read(const std::string& path);  // probed first (hdf5/probe.hpp)

}  // namespace fedmpi::checkpoint
