// What a run does about ranks that are lost, where it is to survive that.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "base/error.hpp"
#include "federation/kept_states.hpp"
#include "federation/roster.hpp"
#include "mpi/cluster.hpp"
#include "mpi/communicator.hpp"

namespace fedmpi::federation {

class Losses {
 public:
  Losses(mpi::Communicator& comm, mpi::Cluster& cluster, Roster& roster)
      : comm_(comm), cluster_(cluster), roster_(roster) {}

  std::int32_t new_ones() const;  // on rank 0: ranks that the others have not been told of, as many as one order takes
  // On all ranks: what the next `lost` ranks hosted goes to those that are left, with what the clients kept when the
  // run was last saved. `round` is that of the model at hand. Returns, on rank 0, what happened, in sentences.
  std::vector<std::string> go_on_without(std::int32_t lost, std::uint64_t round, KeptStates& kept);
  // On all ranks at the end of the run. Of those who were lost last nobody knows but rank 0.
  void leave(ExitCode code);

 private:
  // "3 on rank 1, 2 on rank 4": the clients that have another host than before.
  std::string hosts_since(const std::vector<data::Unit>& before) const;

  mpi::Communicator& comm_;
  mpi::Cluster& cluster_;
  Roster& roster_;
  std::vector<std::uint64_t> gone_;  // participants that the others go on without
};

}  // namespace fedmpi::federation
