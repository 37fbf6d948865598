#include "federation/federation.hpp"

#include <memory>
#include <optional>

#include "base/thread_pool.hpp"
#include "federation/coordinator.hpp"
#include "federation/evaluation.hpp"
#include "federation/plan.hpp"
#include "federation/round.hpp"
#include "mpi/collective_error.hpp"
#include "server/optimizer.hpp"

namespace fedmpi::federation {

namespace {

// What rank 0 tells all ranks before a round.
struct Order {
  RoundPlan plan;                    // of the round to come
  bool evaluate = false;             // first evaluate the parameters that follow
  bool wait = false;                 // another order comes after that, when rank 0 has decided and saved
  bool stop = false;                 // no round to come
  ExitCode failed = ExitCode::done;  // if not done, a message follows and all ranks leave with this code
};

class Federation {
 public:
  Federation(mpi::Communicator& comm, const Config& config, const Observer& observer)
      : comm_(comm),
        config_(config),
        roster_(checked(comm, config)),
        model_(make_model()),
        pool_(participant_index(comm) < 0 ? 1 : static_cast<std::size_t>(config.federation.threads)),
        evaluator_(*model_, roster_, pool_),
        round_(comm, config, roster_, *model_, pool_),
        parameters_(comm.is_root() ? 0 : model_->layout().size()) {
    const std::string plan = describe_plan(comm, config, roster_, *model_, round_.exchange(), round_.expected_cohort());
    mpi::collectively(comm, [&] {
      if (!comm.is_root()) return;
      coordinator_.emplace(config, roster_, *model_, observer);
      if (observer.plan) observer.plan(plan);
    });
  }

  // The loop over rounds. Each turn begins with the parameters after `round` rounds, 0 at first.
  Outcome run() {
    mpi::collectively(comm_, [&] {
      if (coordinator_) coordinator_->begin();
    });
    for (;;) {
      Order order = decide_before_evaluation();
      announce(order);
      comm_.broadcast(parameters());
      lap(&checkpoint::Row::seconds_broadcast);
      if (order.evaluate) evaluate();
      if (order.wait) {
        decide_after_evaluation(order);
        announce(order);
      }
      if (order.stop) break;
      train_one_round(order.plan);
    }
    return outcome();
  }

 private:
  static Roster checked(mpi::Communicator& comm, const Config& config) {
    catch_preemption();
    mpi::collectively(comm, [&] { config.check(); });
    return assemble(comm, config.data.shards, config.data.test, config.data.skip_bad);
  }

  // Options that only make sense together with the data, on all ranks before anything is allocated for them.
  std::unique_ptr<model::Model> make_model() {
    std::unique_ptr<model::Model> model;
    mpi::collectively(comm_, [&] {
      roster_.check_none_idle(participants(comm_));
      model = model::make(config_.model, roster_.schema);
      client::make(*model, config_.client);
      server::make(config_.server, 0);
    });
    return model;
  }

  std::span<float> parameters() { return coordinator_ ? coordinator_->parameters() : std::span<float>(parameters_); }

  void lap(double checkpoint::Row::*part) {
    if (coordinator_) coordinator_->row().*part += coordinator_->watch().lap();
  }

  // On rank 0 runs `work` and turns an error into an order that ends the run on all ranks.
  template <class Work>
  void on_coordinator(Order& order, Work work) {
    if (!coordinator_) return;
    try {
      work(*coordinator_);
    } catch (const Error& error) {
      order.failed = error.code();
      failure_ = error.what();
    }
  }

  Order decide_before_evaluation() {
    Order order;
    on_coordinator(order, [&](Coordinator& c) {
      c.open();
      order.evaluate = c.evaluation_due();
      order.wait = order.evaluate || c.checkpoint_due();
      if (!order.wait && !c.closed()) c.close();
      order.stop = c.stopping();
      if (!order.stop) order.plan = round_.plan(c.round() + 1, c.exponent());
    });
    return order;
  }

  void decide_after_evaluation(Order& order) {
    on_coordinator(order, [&](Coordinator& c) {
      c.close();
      order.stop = c.stopping();
    });
  }

  void announce(Order& order) {
    comm_.broadcast_struct(order);
    if (order.failed == ExitCode::done) return;
    comm_.broadcast(failure_);
    throw mpi::CollectiveError(order.failed, failure_);
  }

  void evaluate() {
    checkpoint::Row ignored;
    checkpoint::Row& row = coordinator_ ? coordinator_->row() : ignored;
    if (roster_.test_rows > 0) {
      const TestScore score = evaluator_.test(comm_, parameters());
      row.test_loss = score.loss;
      row.test_metric = score.metric;
    }
    if (config_.eval.clients) {
      const ClientScore score = evaluator_.clients(comm_, parameters());
      row.client_mean = score.mean;
      row.client_p10 = score.p10;
      row.client_p50 = score.p50;
      row.client_p90 = score.p90;
      row.client_worst = score.worst;
    }
    lap(&checkpoint::Row::seconds_evaluate);
  }

  void train_one_round(const RoundPlan& plan) {
    const std::span<float> update = coordinator_ ? coordinator_->update() : std::span<float>();
    const RoundResult result = round_.run(plan, parameters(), update);
    if (!coordinator_) return;
    const std::size_t senders = static_cast<std::size_t>(comm_.size() - 1);
    coordinator_->step(result, senders == 0 ? 0 : round_.exchange().bytes_up(senders, result.tally.clients),
                       senders * parameters().size_bytes());
  }

  Outcome outcome() {
    Outcome outcome;
    bool complete = true;
    if (coordinator_) {
      const checkpoint::Checkpoint& state = coordinator_->state();
      complete = coordinator_->stop()->complete;
      outcome.reason = coordinator_->stop()->reason;
      outcome.checkpoint = coordinator_->saved_as();
      outcome.weights_sha256 = checkpoint::weights_digest(state.parameters);
      outcome.parameters = state.parameters;
      outcome.history = state.history;
      outcome.metric = checkpoint::metric_name(roster_.schema.task);
    }
    comm_.broadcast_struct(complete);
    outcome.code = complete ? ExitCode::done : ExitCode::stopped;
    return outcome;
  }

  mpi::Communicator& comm_;
  const Config& config_;
  Roster roster_;
  std::unique_ptr<model::Model> model_;
  ThreadPool pool_;
  Evaluator evaluator_;
  Round round_;
  std::optional<Coordinator> coordinator_;  // on rank 0
  Vector parameters_;                       // on the other ranks
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
