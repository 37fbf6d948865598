// One round, from the broadcast model to the aggregated update.
#pragma once

#include <cstdint>
#include <memory>
#include <span>
#include <vector>

#include "aggregate/exchange.hpp"
#include "base/exact_sum.hpp"
#include "base/thread_pool.hpp"
#include "client/algorithm.hpp"
#include "federation/config.hpp"
#include "federation/roster.hpp"
#include "model/model.hpp"
#include "mpi/communicator.hpp"

namespace fedmpi::federation {

// What rank 0 tells the participants of a round beside the parameters.
struct RoundPlan {
  std::uint64_t round = 1;
  std::uint64_t cohort_weight = 0;  // Σ of the cohort's weights, before normalisation
  int exponent = 0;                 // scale of the exact sum
};

// What all ranks know after the training of a round.
struct Tally {
  ExactSum loss;  // Σ mean loss of a client · its examples
  std::uint64_t clients = 0, examples = 0, weight = 0;
  std::uint64_t bad = 0, first_bad = UINT64_MAX;  // clients whose update is not finite
  float largest = 0.0F;                           // magnitude in any update
};

struct RoundResult {
  Tally tally;
  int next_exponent = 0;
  double seconds_train = 0.0, seconds_exchange = 0.0;
};

class Round {
 public:
  Round(mpi::Communicator& comm, const Config& config, const Roster& roster, const model::Model& model,
        ThreadPool& pool);

  // On all ranks together: trains the clients of the cohort from `parameters` and writes the aggregated
  // update to `update` on rank 0. Throws CollectiveError when an update is not finite and
  // federation.bad-update is abort.
  RoundResult run(const RoundPlan& plan, std::span<const float> parameters, std::span<float> update);

  RoundPlan plan(std::uint64_t round, int exponent);  // on rank 0
  const aggregate::Exchange& exchange() const { return *exchange_; }
  double expected_cohort() const;

 private:
  void draw(std::uint64_t round);  // fills cohort_
  std::vector<data::ClientExamples> my_clients(std::uint64_t round);
  Tally train(const RoundPlan& plan, std::span<const data::ClientExamples> clients, std::span<const float> parameters);
  void report_bad_update(const Tally& tally, std::uint64_t round);

  mpi::Communicator& comm_;
  const Config& config_;
  const Roster& roster_;
  const model::Model& model_;
  ThreadPool& pool_;
  std::unique_ptr<client::Algorithm> algorithm_;
  std::unique_ptr<aggregate::Exchange> exchange_;
  std::vector<client::Worker> workers_;  // one per thread
  std::vector<data::ClientId> cohort_;
};

}  // namespace fedmpi::federation
