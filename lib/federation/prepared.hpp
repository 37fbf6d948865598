// What a run is made of before its first round: the data, the model and the method, agreed on by all ranks.
#pragma once

#include <memory>

#include "client/algorithm.hpp"
#include "federation/config.hpp"
#include "federation/roster.hpp"
#include "model/model.hpp"
#include "mpi/communicator.hpp"

namespace fedmpi::federation {

struct Prepared {
  Roster roster;
  std::unique_ptr<model::Model> model;
  std::unique_ptr<client::Algorithm> algorithm;
};

// Checks the options, reads and places the data, and makes the model, on all ranks together. What is wrong is a
// CollectiveError.
Prepared prepare(mpi::Communicator& comm, const Config& config);

}  // namespace fedmpi::federation
