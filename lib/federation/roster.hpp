// Who takes part: every client of every shard, and which rank hosts it.
#pragma once

#include <cstdint>
#include <span>
#include <string>
#include <vector>

#include "data/dataset.hpp"
#include "data/loader.hpp"
#include "data/placement.hpp"
#include "mpi/communicator.hpp"

namespace fedmpi::federation {

// Rows of an evaluation that are scored together; part of what makes its sums the same everywhere.
inline constexpr std::size_t kEvaluationRows = 256;

struct Roster {
  data::Schema schema;  // the same on all ranks
  bool skip_bad = false;
  data::Budget budget;
  std::vector<std::string> files;
  std::vector<data::Unit> units;                         // where every client is, ascending by client
  std::vector<std::uint64_t> first_client;               // of each file
  std::vector<std::uint64_t> checksums;                  // of the data of each unit, if it may be taken over
  std::uint64_t clients = 0, examples = 0, dropped = 0;  // dropped: bad rows left out
  data::StoredVector<std::uint32_t> sizes;               // rank 0: examples of each client
  std::string digest;                                    // on rank 0: SHA-256 over schema, sizes and data
  data::Dataset mine;                                    // the clients that this rank hosts
  data::Block test;             // this rank's share of the test shard: begins at a multiple of kEvaluationRows
  std::uint64_t test_rows = 0;  // of all ranks; 0 = no test shard

  // "client 'NAME' of FILE", for messages; the client must be hosted here.
  std::string describe(data::ClientId id) const;
  // "clients 20 to 29 of FILE, …": what a participant hosts.
  std::string clients_of(std::uint64_t participant) const;
  // On every rank alike: places what the participants of `lost` host on those of `left`, and loads what comes to `me`
  // (-1 on a rank that only aggregates), on top of what the budget allows. Returns how many clients come here and
  // cannot be read here, or are no longer what they were.
  std::uint64_t take_over(std::span<const std::uint64_t> lost, std::span<const std::uint64_t> left, int me);

  // Error(usage) naming the ranks that have no client.
  void check_none_idle(int participants) const;
};

// Participants are ranks 1 … size-1; a single process is aggregator and participant at once.
int participants(const mpi::Communicator& comm);
int participant_index(const mpi::Communicator& comm);  // 0 … participants-1, or -1 on a rank that only aggregates

// Opens, checks and loads every shard, on all ranks together. Whatever is wrong with any file is a CollectiveError
// that names every offender. `budget` is each participant's. With `survive` all ranks learn the checksum of each unit's
// data, so that they can take it over.
Roster assemble(mpi::Communicator& comm, const std::string& shards, bool skip_bad, data::Budget budget = {},
                bool survive = false);

// The same for the test shard `path`, if not empty. While a participant trains so many examples in a round, one after
// the other, rank 0 has time to evaluate: its part is as large as that allows, and the participants share the rest.
void load_test(mpi::Communicator& comm, Roster& roster, const std::string& path, bool skip_bad, double training_time);

}  // namespace fedmpi::federation
