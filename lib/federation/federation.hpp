// A run: rounds until there is a reason to stop.
#pragma once

#include <string>
#include <vector>

#include "base/error.hpp"
#include "checkpoint/history.hpp"
#include "federation/config.hpp"
#include "federation/observer.hpp"
#include "mpi/communicator.hpp"

namespace fedmpi::federation {

// How a run ended. All ranks have the code; the rest is filled on rank 0.
struct Outcome {
  ExitCode code = ExitCode::done;  // done, or stopped (75)
  std::string reason;
  std::string checkpoint;      // the newest file; empty when a finished run was asked to go on
  std::string weights_sha256;  // of the final parameters
  std::vector<checkpoint::Row> history;
  std::string metric;  // "accuracy" or "rmse": what Row::test_metric is
};

// Trains on all ranks of `comm` together. What is wrong with options, data or output is an
// mpi::CollectiveError that all ranks throw alike.
Outcome train(mpi::Communicator& comm, const Config& config, const Observer& observer = {});

// Does everything but train: checks options, shards, output directory and checkpoint on every rank, and hands
// the plan to the observer.
void dry_run(mpi::Communicator& comm, const Config& config, const Observer& observer);

}  // namespace fedmpi::federation
