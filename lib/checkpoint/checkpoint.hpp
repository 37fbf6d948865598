// The run's HDF5 file: everything a run needs to continue, and everything an analyst wants to see.
#pragma once

#include <cstdint>
#include <functional>
#include <span>
#include <string>
#include <utility>
#include <vector>

#include "base/layout.hpp"
#include "base/vector.hpp"
#include "checkpoint/history.hpp"
#include "client/states.hpp"
#include "data/schema.hpp"

namespace fedmpi::checkpoint {

// What is known beside the vectors.
struct Facts {
  std::uint64_t round = 0;
  std::uint64_t seed = 0;
  std::string revision;  // of the program that wrote it
  std::string config;    // every option that is read, as an INI text
  data::Schema schema;   // of the data the model is for
  std::uint64_t clients = 0, examples = 0;
  std::string roster;               // SHA-256 over schema, clients' sizes and data
  std::vector<int> exponents;       // scales of the exact sum (secure/scale.hpp)
  Layout layout;                    // of the model
  std::string frozen;               // SHA-256 of the weights that are not trained; empty: there are none
  client::StatesSum client_states;  // of what the clients keep, which their participants store (client_states.hpp)
  std::vector<Row> history;
  std::string events;  // what happened to the run beside its rounds: a line each
};

// To be written, of vectors that lie where they are used.
struct Snapshot {
  const Facts& facts;
  std::span<const float> parameters;
  // Further vectors by name: what the server optimizer keeps ("server/velocity") and what a method sends beside the
  // model ("algorithm/control").
  std::vector<std::pair<std::string, std::span<const float>>> states;
};

// As it was read.
struct Checkpoint : Facts {
  Vector parameters;
  std::vector<std::pair<std::string, Vector>> states;  // in alphabetical order
};

// What was read, to be written again.
Snapshot snapshot_of(const Checkpoint& checkpoint);

std::string revision();                    // of this program
std::string metric_name(data::Task task);  // "accuracy" or "rmse"

// SHA-256 over the parameters alone: equal for equal bits.
std::string weights_digest(std::span<const float> parameters);

// SHA-256 over everything in it, independent of how it is stored.
std::string digest(const Snapshot& snapshot);

// Writes to path + ".partial", closes, syncs, reads back and compares, block by block, renames and syncs the
// directory. Error(cannot_create) or Error(io); a file that stood at `path` is intact until the new one is
// whole.
void write(const Snapshot& snapshot, const std::string& path);
// Error(bad_data) if anything is missing, damaged, or does not match the digest. A column of the history that this
// program does not know is passed over, and one that the file does not have reads as unknown.
Checkpoint read(const std::string& path);  // probed first (hdf5/probe.hpp)

// What every file of a run goes through: path + ".partial" by `write_to`, sync, `verify`, rename, sync of the
// directory. What does not read back as it was written is an Error(io).
void write_aside(const std::string& path, const std::function<void(const std::string& partial)>& write_to,
                 const std::function<void(const std::string& partial)>& verify);

}  // namespace fedmpi::checkpoint
