// How good a model is: on a test shard, the work spread over the ranks, and on every client's own examples.
#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <span>
#include <vector>

#include "base/exact_sum.hpp"
#include "base/thread_pool.hpp"
#include "checkpoint/history.hpp"
#include "federation/roster.hpp"
#include "model/model.hpp"
#include "mpi/cluster.hpp"
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

struct Scores {
  std::optional<TestScore> test;       // if there is a test shard
  std::optional<ClientScore> clients;  // if clients are evaluated

  void file_in(checkpoint::Row& row) const;
};

// Examples that each thread of this rank evaluates at once.
std::size_t evaluation_rows(const Roster& roster);

class Evaluator {
 public:
  Evaluator(const model::Model& model, const Roster& roster, ThreadPool& pool, bool evaluate_clients);

  // This rank's part of the work. The weights need not stay: only its sums are kept.
  void measure(const model::Weights& weights);
  // On all ranks together, after measure(); valid on rank 0, and the same for any number of ranks.
  Scores merged(mpi::Communicator& comm, mpi::Cluster& cluster);

 private:
  struct Worker {
    data::BatchBuffer batch;
    std::unique_ptr<model::Workspace> workspace;
  };
  struct Sums {
    ExactSum loss, metric, count;
    void add(const model::Score& score);
  };
  struct AllSums {
    Sums test, clients;
    ExactSum weighted;  // a client's metric times its examples
  };
  static void merge(AllSums& into, const AllSums& from);

  void measure_test(const model::Weights& weights);
  void measure_clients(const model::Weights& weights);
  model::Score score(const data::Block& block, std::size_t first, std::size_t count, const model::Weights& weights,
                     Worker& worker) const;
  double metric(double sum, double count) const;  // of sums of scores
  TestScore mean(const Sums& sums) const;

  const model::Model& model_;
  const Roster& roster_;
  ThreadPool& pool_;
  bool evaluate_clients_;
  std::vector<Worker> workers_;
  AllSums sums_;
  std::vector<double> values_;  // the metric of each client here
};

}  // namespace fedmpi::federation
