// What a run would do, in words.
#pragma once

#include <cstdint>
#include <string>

#include "federation/config.hpp"
#include "federation/prepared.hpp"
#include "federation/round.hpp"
#include "mpi/cluster.hpp"

namespace fedmpi::federation {

// Bytes that this rank comes to hold beside its data: vectors as long as the model, its clients' updates, and batches.
// Error(usage) where they are more than can be counted.
std::uint64_t memory_to_train(const mpi::Communicator& comm, const mpi::Cluster& cluster, const Config& config,
                              const Prepared& run);

// Clients, ranks, parameters, bytes per round, memory per rank and the size of a checkpoint. On all ranks
// together; the text is valid on rank 0.
std::string describe_plan(mpi::Communicator& comm, const mpi::Cluster& cluster, const Config& config,
                          const Prepared& run, const Round& round);

}  // namespace fedmpi::federation
