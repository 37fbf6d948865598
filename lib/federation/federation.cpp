#include "federation/federation.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <chrono>
#include <memory>
#include <optional>

#include "base/thread_pool.hpp"
#include "federation/coordinator.hpp"
#include "federation/evaluation.hpp"
#include "federation/kept_states.hpp"
#include "federation/losses.hpp"
#include "federation/memory.hpp"
#include "federation/plan.hpp"
#include "federation/prepared.hpp"
#include "federation/round.hpp"
#include "mpi/cluster.hpp"
#include "mpi/collective_error.hpp"
#include "mpi/shared_memory.hpp"

namespace fedmpi::federation {

namespace {

// What rank 0 tells all ranks.
struct Order {
  std::int32_t lost = 0;  // so many more ranks are gone than before; their numbers follow
  RoundPlan plan;         // of the round to train
  bool train = false;     // there is such a round; else the run ends here
  bool evaluate = false;  // the model at hand, while the round is trained
  bool verdict = false;  // another order comes after that, before the exchange: whether the run ends, and what is saved
  bool save = false;     // the model at hand, and what the clients keep
  std::uint64_t round = 0;           // of the model at hand
  std::uint64_t oldest_kept = 0;     // what was stored before that round is no longer wanted
  bool complete = true;              // at the end: the run is, else it may be resumed
  ExitCode failed = ExitCode::done;  // if not done, a message follows and all ranks leave with this code
};

class Federation {
 public:
  Federation(mpi::Communicator& comm, const Config& config, const Observer& observer)
      : comm_(comm),
        config_(config),
        run_(prepare(comm, config)),
        owned_cluster_(
            mpi::make_cluster(comm, config.run.shared_memory, {config.federation.deadline, config.federation.survive})),
        cluster_(*owned_cluster_),
        states_(run_.algorithm->kept()),
        pool_(run_.roster.seats.trains() ? static_cast<std::size_t>(config.federation.threads) : 1),
        global_(checked(cluster_), cluster_.leads() ? model_size() + run_.algorithm->down().size() : 0),
        frozen_(cluster_, cluster_.leads() ? run_.model->frozen().size() : 0),
        evaluator_(*run_.model, run_.roster, pool_, config.eval.clients),
        round_(comm, cluster_, config, run_.roster, *run_.model, frozen_.of(0), *run_.algorithm, states_, pool_),
        kept_(comm, cluster_, config, run_.roster, states_),
        losses_(comm, cluster_, run_.roster) {
    const std::string plan = describe_plan(comm, cluster_, config, run_, round_);
    mpi::collectively(comm, [&] {
      if (!comm.is_root()) return;
      coordinator_.emplace(config, run_.roster, *run_.model, *run_.algorithm, round_.message(),
                           Global{global().first(model_size()), global().subspan(model_size()), frozen_.of(0)},
                           observer, started_);
      if (observer.plan) observer.plan(plan);
    });
    std::uint8_t frozen = 1;
    cluster_.broadcast(frozen, frozen_.of(0));  // once: they never travel again
    kept_.restore(coordinator_ ? coordinator_->beginning() : Beginning());
  }

  Outcome run() {
    try {
      return rounds();
    } catch (const mpi::CollectiveError&) {
      throw;
    } catch (const Error& error) {  // ranks do not answer: what has been done so far is kept
      if (coordinator_ && error.code() == ExitCode::stopped) coordinator_->rescue();
      throw;
    }
  }

 private:
  // The loop over rounds. Each turn begins with the model after some rounds, 0 at first, and makes the next one. What
  // is to be known of the first, rank 0 finds out while the participants train the second.
  Outcome rounds() {
    mpi::collectively(comm_, [&] {
      if (coordinator_) coordinator_->begin();
    });
    kept_.begin(coordinator_ ? coordinator_->round() : 0);
    cluster_.take_traffic();  // of what was before the rounds
    cluster_.rounds_begin();
    for (;;) {
      Order order = first_order();
      announce(order, global());
      if (order.lost > 0) go_on_without(order);
      lap(&checkpoint::Row::seconds_broadcast);
      if (order.evaluate) measure();
      if (!order.verdict) {
        close(order);
        save(order);
      }
      if (order.train) round_.train(order.plan, {model(), down()}, failed_ != ExitCode::done);
      lap(&checkpoint::Row::seconds_train);
      if (order.evaluate) take_scores(evaluator_.merged(comm_, cluster_));
      if (order.verdict) {
        close(order);
        announce(order);
        save(order);
      }
      if (!order.train) break;
      if (!round_.tally().halt) finish_round();
    }
    cluster_.rounds_end();
    return outcome();
  }

  mpi::Cluster& checked(mpi::Cluster& cluster) {
    std::uint64_t bytes = 0;
    mpi::collectively(comm_, [&] { bytes = memory_to_train(comm_, cluster, config_, run_); });
    const SpareMemory left = check_memory(comm_, bytes, "the model and updates");
    if (config_.federation.survive) run_.roster.learn_room(comm_, left, run_.algorithm->kept().size() * sizeof(float));
    return cluster;
  }

  std::size_t model_size() const { return run_.model->layout().size(); }
  // The vectors that rank 0 broadcasts, in memory that the node shares: the model at hand, and what the method sends
  // beside it.
  std::span<float> global() { return global_.of(0); }
  std::span<const float> model() { return global().first(model_size()); }
  std::span<const float> down() { return global().subspan(model_size()); }

  void lap(double checkpoint::Row::*part) {
    if (coordinator_) coordinator_->lap(part);
  }

  // On rank 0 runs `work`; an error ends the run on all ranks with the next order.
  template <class Work>
  void on_coordinator(Work work) {
    if (!coordinator_ || failed_ != ExitCode::done) return;
    try {
      work(*coordinator_);
    } catch (const Error& error) {
      failed_ = error.code();
      failure_ = error.what();
    }
  }

  Order first_order() {
    Order order;
    on_coordinator([&](Coordinator& c) {
      order.lost = losses_.new_ones();
      c.open();
      order.evaluate = c.evaluation_due();
      order.train = !c.stopping();
      order.verdict = order.evaluate || !order.train;
      order.save = !order.verdict && c.checkpoint_due();
      order.round = c.round();
      order.oldest_kept = c.oldest_kept();
      if (order.train) order.plan = round_.plan(c.round() + 1, c.scale());
    });
    return order;
  }

  // Files what is known of the model at hand, and decides whether the run ends with it and whether it is saved.
  void close(Order& order) {
    on_coordinator([&](Coordinator& c) {
      order.save = c.closed() ? c.checkpoint_due() : c.close();
      order.train = !c.stopping();
    });
  }

  // On all ranks: the participants store what their clients keep, as it belongs to the model at hand, and rank 0 the
  // model.
  void save(const Order& order) {
    if (!order.save) return;
    StoredStates stored;
    if (!states_.none()) stored = kept_.store(order.round, order.oldest_kept);
    on_coordinator([&](Coordinator& c) { c.save(stored.sum, stored.failure()); });
  }

  // On all ranks: what the ranks that are lost hosted goes to those that are left.
  void go_on_without(const Order& order) {
    for (const std::string& event : losses_.go_on_without(order.lost, order.round, kept_))
      if (coordinator_) coordinator_->record(event);
    round_.clients_changed();
  }

  // From rank 0 to all: an order and, if there is one, a vector.
  void announce(Order& order, std::span<float> vector = {}) {
    order.failed = failed_;
    cluster_.broadcast(order, vector);
    if (order.failed == ExitCode::done) return;
    std::array<char, 1000> sentence{};
    failure_.copy(sentence.data(), sentence.size() - 1);
    cluster_.broadcast(sentence);
    losses_.leave(order.failed);
    throw mpi::CollectiveError(order.failed, sentence.data());
  }

  void measure() {
    evaluator_.measure({model(), frozen_.of(0)});
    lap(&checkpoint::Row::seconds_evaluate);
  }

  void take_scores(const Scores& scores) {
    if (!coordinator_) return;
    scores.file_in(coordinator_->row());
    lap(&checkpoint::Row::seconds_evaluate);
  }

  client::Message delivered() {
    try {
      return round_.deliver();
    } catch (const mpi::CollectiveError& error) {
      losses_.leave(error.code());
      throw;
    }
  }

  void finish_round() {
    const client::Message mean = delivered();
    lap(&checkpoint::Row::seconds_exchange);
    if (!coordinator_) return;
    const std::size_t senders = static_cast<std::size_t>(comm_.size() - 1) - cluster_.lost();
    if (cluster_.lost() > 0 && senders == 0) fail(ExitCode::stopped, "no participant is left");
    coordinator_->step(round_, mean, cluster_.take_traffic());
  }

  Outcome outcome() {
    Order last;
    on_coordinator([&](Coordinator& c) { last.complete = c.stop()->complete; });
    announce(last);
    Outcome outcome;
    outcome.code = last.complete ? ExitCode::done : ExitCode::stopped;
    if (coordinator_) {
      outcome.reason = coordinator_->stop()->reason;
      outcome.checkpoint = coordinator_->saved_as();
      outcome.weights_sha256 = checkpoint::weights_digest(model());
      outcome.history = coordinator_->history();
      outcome.metric = checkpoint::metric_name(run_.roster.schema.task);
    }
    losses_.leave(outcome.code);
    return outcome;
  }

  const std::chrono::steady_clock::time_point started_ = std::chrono::steady_clock::now();
  mpi::Communicator& comm_;
  const Config& config_;
  Prepared run_;
  std::unique_ptr<mpi::Cluster> owned_cluster_;
  mpi::Cluster& cluster_;
  client::States states_;  // of the clients here
  ThreadPool pool_;
  mpi::Shared<float> global_;  // of each node's leader
  mpi::Shared<float> frozen_;  // too: weights that are not trained
  Evaluator evaluator_;
  Round round_;
  KeptStates kept_;  // where they are stored
  Losses losses_;
  std::optional<Coordinator> coordinator_;  // on rank 0
  ExitCode failed_ = ExitCode::done;        // rank 0: what ends the run
  std::string failure_;
};

}  // namespace

Outcome train(mpi::Communicator& comm, const Config& config, const Observer& observer) {
  return Federation(comm, config, observer).run();
}

void dry_run(mpi::Communicator& comm, const Config& config, const Observer& observer) {
  const Federation federation(comm, config, observer);
}

}  // namespace fedmpi::federation
