// Where participants store what their clients keep between rounds, and when.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "base/error.hpp"
#include "checkpoint/client_states.hpp"
#include "client/states.hpp"
#include "federation/config.hpp"
#include "federation/coordinator.hpp"
#include "federation/roster.hpp"
#include "mpi/cluster.hpp"
#include "mpi/communicator.hpp"

namespace fedmpi::federation {

// What came of storing, on all ranks alike.
struct StoredStates {
  client::StatesSum sum;
  std::int32_t failed_rank = INT32_MAX;  // the first of those that could not
  ExitCode code = ExitCode::done;
  char why[600] = {};

  std::optional<Error> failure() const;
};

class KeptStates {
 public:
  KeptStates(mpi::Communicator& comm, mpi::Cluster& cluster, const Config& config, const Roster& roster,
             client::States& states)
      : comm_(comm), cluster_(cluster), config_(config), roster_(roster), states_(states) {}

  bool none() const { return states_.none(); }

  // On all ranks together, before the first round. `beginning` is rank 0's. CollectiveError(bad_data) unless what is
  // found of all clients is what the checkpoint says.
  void restore(Beginning beginning);
  void begin(std::uint64_t round);  // removes what was stored after that round, which is rank 0's
  // On all ranks together: stores what belongs to the model of that round, and removes what is older than
  // `oldest_kept`.
  StoredStates store(std::uint64_t round, std::uint64_t oldest_kept);
  // After clients have come here, where there were those of `before`: restores what they kept when the run was last
  // saved; returns for how many that was found.
  std::uint64_t take_over(const std::vector<data::Unit>& before);

 private:
  std::vector<checkpoint::ClientRun> runs(const std::vector<data::Unit>& units) const;  // of this participant's
  std::string directory() const;

  mpi::Communicator& comm_;
  mpi::Cluster& cluster_;
  const Config& config_;
  const Roster& roster_;
  client::States& states_;
  std::optional<std::uint64_t> stored_;  // round
};

}  // namespace fedmpi::federation
