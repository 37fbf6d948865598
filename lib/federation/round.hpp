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
#include "mpi/cluster.hpp"
#include "mpi/communicator.hpp"

namespace fedmpi::federation {

// What rank 0 tells the participants of a round beside the parameters.
struct RoundPlan {
  std::uint64_t round = 1;
  std::uint64_t cohort_weight = 0;  // Σ of the cohort's weights, before normalisation
  std::uint64_t cohort = 0;         // clients with a weight
  int exponent = 0;                 // scale of the exact sum
};

// What all ranks know after the training of a round.
struct Tally {
  ExactSum loss;  // Σ mean loss of a client · its examples
  std::uint64_t clients = 0, examples = 0, weight = 0;
  std::uint64_t bad = 0, first_bad = UINT64_MAX;  // clients whose update is not finite
  float largest = 0.0F;                           // magnitude in any update
  bool encoded = false;                           // a rank has encoded updates with the exponent of this attempt
};

class Round {
 public:
  Round(mpi::Communicator& comm, mpi::Cluster& cluster, const Config& config, const Roster& roster,
        const model::Model& model, ThreadPool& pool);

  RoundPlan plan(std::uint64_t round, int exponent);  // on rank 0

  // On all ranks together: trains the clients of the cohort from `parameters`. All ranks find the same tally.
  void train(const RoundPlan& plan, std::span<const float> parameters);
  // On all ranks together, after train(): CollectiveError when an update is not finite and federation.bad-update is
  // abort; else the aggregated update on rank 0, of those who have not been lost.
  std::span<float> deliver();
  std::uint64_t lost() const { return plan_.cohort - tally_.clients - tally_.bad; }  // clients that did not arrive
  void clients_changed();  // other clients are hosted here than before
  const Tally& tally() const { return tally_; }
  int next_exponent() const;  // for the next round

  const aggregate::Exchange& exchange() const { return *exchange_; }

 private:
  void draw(std::uint64_t round);  // fills cohort_
  void find_my_clients();          // fills mine_ from cohort_
  Tally train_mine(std::span<const float> parameters);
  void tell_all();  // makes own_ of all ranks tally_
  void report_bad_update();

  mpi::Communicator& comm_;
  mpi::Cluster& cluster_;
  const Config& config_;
  const Roster& roster_;
  const model::Model& model_;
  ThreadPool& pool_;
  std::unique_ptr<client::Algorithm> algorithm_;
  std::unique_ptr<aggregate::Exchange> exchange_;
  std::vector<client::Worker> workers_;  // one per thread; none on a rank that only aggregates
  std::vector<data::ClientId> cohort_;
  std::vector<data::ClientExamples> mine_;
  RoundPlan plan_;        // of the round in hand, with the exponent in use
  Tally own_, tally_;     // of this rank, of all
  std::size_t lost_ = 0;  // rank 0: ranks that had been lost when the tally was begun
};

}  // namespace fedmpi::federation
