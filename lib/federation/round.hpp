// One round, from the broadcast model to the aggregated message.
#pragma once

#include <cstdint>
#include <memory>
#include <span>
#include <vector>

#include "aggregate/exchange.hpp"
#include "base/exact_sum.hpp"
#include "base/thread_pool.hpp"
#include "client/algorithm.hpp"
#include "client/states.hpp"
#include "federation/config.hpp"
#include "federation/roster.hpp"
#include "model/model.hpp"
#include "mpi/cluster.hpp"
#include "mpi/communicator.hpp"
#include "secure/scale.hpp"
#include "update/filter.hpp"

namespace fedmpi::federation {

// What rank 0 tells the participants of a round beside the vectors.
struct RoundPlan {
  std::uint64_t round = 1;
  std::uint64_t cohort = 0;         // clients with a weight
  std::uint64_t cohort_weight = 0;  // Σ of their weights
  double denominator = 1.0;         // by which weights are divided: theirs, or what is expected
  secure::Scale scale;              // of the exact sum

  double share() const { return static_cast<double>(cohort_weight) / denominator; }  // Σ of the divided weights
};

// What all ranks know after the training of a round.
struct Tally {
  ExactSum loss, labels;  // Σ over the clients; each of their labels counts once, however often it was trained on
  std::uint64_t clients = 0, examples = 0, weight = 0, clipped = 0;
  std::uint64_t bad = 0, first_bad = UINT64_MAX;  // clients whose reply is not finite
  secure::Largest largest{};                      // in any message
  bool encoded = false;                           // a rank has encoded messages with the scale of this attempt
  bool halt = false;                              // rank 0 has something to tell before anything is exchanged
};

// The vectors that rank 0 broadcasts.
struct Broadcast {
  std::span<const float> model, down;  // down: client::Algorithm::down()
};

class Round {
 public:
  // `algorithm` and `states` are this rank's for as long as the round lives; `frozen` are the weights that are not
  // trained.
  Round(mpi::Communicator& comm, mpi::Cluster& cluster, const Config& config, const Roster& roster,
        const model::Model& model, std::span<const float> frozen, const client::Algorithm& algorithm,
        client::States& states, ThreadPool& pool);

  RoundPlan plan(std::uint64_t round, const secure::Scale& scale);  // on rank 0

  // On all ranks together: trains the clients of the cohort. All ranks find the same tally. With `halt` on rank 0 the
  // round is not going to be delivered.
  void train(const RoundPlan& plan, const Broadcast& from, bool halt);
  // On all ranks together, after train(): CollectiveError when a reply is not finite and federation.bad-update is
  // abort; else the weighted mean of the messages on rank 0, of those who have not been lost, and what the clients keep
  // is kept.
  client::Message deliver();
  // Instead of deliver(): the round does not count.
  void drop() { states_.forget(); }

  std::uint64_t lost() const { return plan_.cohort - tally_.clients - tally_.bad; }  // clients that did not arrive
  client::Arrived arrived() const;                                                   // on rank 0
  void clients_changed();  // other clients are hosted here than before
  const Tally& tally() const { return tally_; }
  secure::Scale next_scale() const;  // for the next round

  const Layout& message() const { return message_; }
  const aggregate::Exchange& exchange() const { return *exchange_; }

 private:
  void draw(std::uint64_t round);  // fills cohort_
  void find_my_clients();          // fills mine_ from cohort_
  Tally train_mine(const Broadcast& from);
  Tally train_one(std::size_t thread, const data::ClientExamples& examples, const Broadcast& from);
  bool fits() const;
  void tell_all();  // makes own_ of all ranks tally_
  void report_bad_update();
  client::Message parts_of(std::span<float> message) const;

  mpi::Communicator& comm_;
  mpi::Cluster& cluster_;
  const Config& config_;
  const Roster& roster_;
  const model::Model& model_;
  std::span<const float> frozen_;
  const client::Algorithm& algorithm_;
  client::States& states_;
  ThreadPool& pool_;
  std::vector<std::unique_ptr<update::Filter>> filters_;
  Layout message_;        // the update, and what the algorithm sends beside it
  std::size_t rest_ = 0;  // where that begins
  std::unique_ptr<aggregate::Exchange> exchange_;
  std::vector<std::unique_ptr<client::Local>> locals_;  // one per thread; none on a rank that only aggregates
  std::vector<data::ClientId> cohort_;
  std::vector<data::ClientExamples> mine_;
  std::uint64_t weight_of_all_ = 0;  // of all clients, on rank 0
  RoundPlan plan_;                   // of the round under way, with the scale in use
  Tally own_, tally_;                // of this rank, of all
  std::size_t lost_ = 0;             // rank 0: ranks that had been lost when the tally was begun
};

// What travels up with such a method: the update, in a scale that filters may fix, and what is beside it.
Layout message_of(const model::Model& model, const client::Algorithm& algorithm, const update::Options& filters);

}  // namespace fedmpi::federation
