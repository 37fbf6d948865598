// How good a model is: on a test shard, the work spread over the ranks, and on every client's own examples.
#pragma once

#include <cstdint>
#include <memory>
#include <span>
#include <vector>

#include "base/thread_pool.hpp"
#include "federation/roster.hpp"
#include "model/model.hpp"
#include "mpi/communicator.hpp"

namespace fedmpi::federation {

// Accuracy, or for regression the root mean squared error; loss without the penalty.
struct TestScore {
  double loss = 0.0, metric = 0.0;
};

// The metric over the clients: mean weighted by examples, quantiles (linearly interpolated), and the worst.
struct ClientScore {
  TestScore overall;  // over all examples of all clients
  double mean = 0.0, p10 = 0.0, p50 = 0.0, p90 = 0.0, worst = 0.0;
};

class Evaluator {
 public:
  Evaluator(const model::Model& model, const Roster& roster, ThreadPool& pool);

  // Each is called on all ranks together; the result is valid on rank 0 and the same for any number of ranks.
  TestScore test(mpi::Communicator& comm, std::span<const float> parameters);
  ClientScore clients(mpi::Communicator& comm, std::span<const float> parameters);

 private:
  struct Worker {
    data::BatchBuffer batch;
    std::unique_ptr<model::Workspace> workspace;
  };
  model::Score score(const data::Block& block, std::size_t first, std::size_t count, std::span<const float> parameters,
                     Worker& worker) const;
  double metric(double sum, double examples) const;  // of a sum of Score::metric

  const model::Model& model_;
  const Roster& roster_;
  ThreadPool& pool_;
  std::vector<Worker> workers_;
};

}  // namespace fedmpi::federation
