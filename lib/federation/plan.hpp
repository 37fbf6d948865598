// What a run would do, in words.
#pragma once

#include <string>

#include "aggregate/exchange.hpp"
#include "federation/config.hpp"
#include "federation/roster.hpp"
#include "model/model.hpp"

namespace fedmpi::federation {

// Clients, ranks, parameters, bytes per round, memory per rank and the size of a checkpoint. On all ranks
// together; the text is valid on rank 0.
std::string describe_plan(mpi::Communicator& comm, const Config& config, const Roster& roster,
                          const model::Model& model, const aggregate::Exchange& exchange, double cohort);

}  // namespace fedmpi::federation
