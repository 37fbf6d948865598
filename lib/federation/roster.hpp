// Who takes part: every client of every shard, and which rank hosts it.
#pragma once

#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "data/dataset.hpp"
#include "data/loader.hpp"
#include "data/placement.hpp"
#include "federation/memory.hpp"
#include "federation/seats.hpp"
#include "mpi/communicator.hpp"

namespace fedmpi::federation {

// Rows of an evaluation that are scored together; part of what makes its sums the same everywhere.
inline constexpr std::size_t kEvaluationRows = 256;

// A shard that the others are compared with.
struct Reference {
  std::string file;
  data::Schema schema;

  void travel(auto& words) {
    words(file, schema.task, schema.classes, schema.targets, schema.feature_shape, schema.columns, schema.label_names);
  }
};

// What became of the clients of participants that are lost, beside those that are hosted again.
struct TakenOver {
  std::uint64_t out_of_reach = 0;  // clients that come to this rank and cannot be read, or are no longer what they were
  std::uint64_t no_room = 0;       // clients that fit into the memory of no participant; the same on all ranks
};

struct Roster {
  Seats seats;
  data::Schema schema;                // the same on all ranks
  std::vector<Reference> references;  // whose schemas together are that: the first shard, and the first to name
                                      // columns or labels where it does not
  bool skip_bad = false;
  data::Budget budget;
  std::vector<std::string> files;
  std::vector<data::Unit> units;                         // where every client is, ascending by client
  std::vector<std::uint64_t> first_client;               // of each file
  std::vector<std::uint64_t> example_bytes;              // of each file: of an example in memory
  std::vector<std::uint64_t> checksums;                  // of the data of each unit, if it may be taken over
  std::uint64_t clients = 0, examples = 0, dropped = 0;  // dropped: bad rows left out
  data::StoredVector<std::uint32_t> sizes;               // rank 0: examples of each client
  std::string digest;                                    // on rank 0: SHA-256 over schema, sizes and data
  data::Dataset mine;                                    // the clients that this rank hosts
  data::Block test;             // this rank's share of the test shard: begins at a multiple of kEvaluationRows
  std::uint64_t test_rows = 0;  // of all ranks; 0 = no test shard
  // What clients of lost participants are placed by, the same on all ranks: the participants that are left, and bytes
  // of memory that each node can spare.
  std::vector<data::Host> hosts;
  std::vector<std::uint64_t> spare;
  std::uint64_t state_bytes = 0;  // that a client takes beside its examples

  // "client 'NAME' of FILE", for messages; the client must be hosted here.
  std::string describe(data::ClientId id) const;
  // "clients 20 to 29 of FILE, …": what a participant hosts.
  std::string clients_of(std::uint64_t participant) const;
  // In what a file does not fit the shards, in a sentence that names both. Where its classes are inferred from its
  // labels it may have fewer.
  std::optional<std::string> misfit(const std::string& file, data::Schema found, bool classes_inferred) const;

  // On all ranks together, once the examples are loaded: what take_over() may use. `left` is what the nodes have left
  // beside all that the run holds already, of which a client's state takes so many bytes more.
  void learn_room(mpi::Communicator& comm, const SpareMemory& left, std::uint64_t bytes_of_state);
  // On every rank alike: hands what the participants of `lost` host to those that are left, by their examples and
  // memory, and loads what comes here.
  TakenOver take_over(std::span<const std::uint64_t> lost);

  data::Part part_of(const data::Unit& unit) const;
  // Of each unit, of what `from` has of it: a sum over its clients, so that it does not depend on who hosts whom. Each
  // block is of one unit.
  std::vector<std::uint64_t> checksums_of(const data::Dataset& from) const;

  // Error(usage) naming the ranks that have no client, Error(bad_data) for labels that are all the same.
  void check_trainable() const;

 private:
  std::uint64_t bytes_of(const data::Unit& unit) const;
  bool load(const data::Unit& unit, std::uint64_t checksum);
};

// Opens, checks and loads every shard, on all ranks together. Whatever is wrong with any file is a CollectiveError
// that names every offender. `budget` is each participant's. With `survive` all ranks learn the checksum of each unit's
// data, so that they can take it over.
Roster assemble(mpi::Communicator& comm, const std::string& shards, bool skip_bad, data::Budget budget = {},
                bool survive = false);

// The same for the test shard `path`, if not empty. While a participant trains so many examples in a round, one after
// the other, rank 0 has time to evaluate: its part is as large as that allows, and the participants share the rest.
void load_test(mpi::Communicator& comm, Roster& roster, const std::string& path, bool skip_bad, double training_time);

}  // namespace fedmpi::federation
