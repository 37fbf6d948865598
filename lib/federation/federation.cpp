#include "federation/federation.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <chrono>
#include <limits>
#include <memory>
#include <optional>
#include <sstream>

#include "base/thread_pool.hpp"
#include "federation/cohort.hpp"
#include "federation/coordinator.hpp"
#include "federation/evaluation.hpp"
#include "federation/memory.hpp"
#include "federation/plan.hpp"
#include "federation/round.hpp"
#include "federation/stopping.hpp"
#include "mpi/cluster.hpp"
#include "mpi/collective_error.hpp"
#include "mpi/lifeline.hpp"
#include "mpi/shared_memory.hpp"
#include "server/optimizer.hpp"

namespace fedmpi::federation {

namespace {

// What rank 0 tells all ranks.
struct Order {
  std::int32_t lost = 0;  // so many more ranks are gone than before; their numbers follow
  RoundPlan plan;         // of the round to train
  bool train = false;     // there is such a round; else the run ends here
  bool evaluate = false;  // the model at hand, while the round is trained
  bool verdict = false;   // another order comes after that, before the exchange: whether the run ends, and how
  ExitCode failed = ExitCode::done;  // if not done, a message follows and all ranks leave with this code
};

class Federation {
 public:
  Federation(mpi::Communicator& comm, const Config& config, const Observer& observer)
      : comm_(comm),
        config_(config),
        roster_(checked(comm, config)),
        owned_cluster_(
            mpi::make_cluster(comm, config.run.shared_memory, {config.federation.deadline, config.federation.survive})),
        cluster_(*owned_cluster_),
        model_(make_model()),
        pool_(participant_index(comm) < 0 ? 1 : static_cast<std::size_t>(config.federation.threads)),
        evaluator_(*model_, roster_, pool_, config.eval.clients),
        round_(comm, cluster_, config, roster_, *model_, pool_),
        parameters_(cluster_, cluster_.leads() ? model_->layout().size() : 0) {
    const std::string plan = describe_plan(comm, cluster_, config, roster_, *model_, round_.exchange());
    mpi::collectively(comm, [&] {
      if (!comm.is_root()) return;
      coordinator_.emplace(config, roster_, *model_, parameters(), observer, started_);
      if (observer.plan) observer.plan(plan);
    });
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
    cluster_.rounds_begin();
    for (;;) {
      Order order = first_order();
      announce(order, parameters());
      if (order.lost > 0) go_on_without(order.lost);
      lap(&checkpoint::Row::seconds_broadcast);
      if (order.evaluate) measure();
      if (!order.verdict) close(order);
      if (order.train) round_.train(order.plan, parameters());
      lap(&checkpoint::Row::seconds_train);
      if (order.evaluate) take_down(evaluator_.merged(comm_, cluster_));
      if (order.verdict) {
        close(order);
        announce(order);
      }
      if (!order.train) break;
      finish_round();
    }
    cluster_.rounds_end();
    return outcome();
  }

  static Roster checked(mpi::Communicator& comm, const Config& config) {
    if (comm.lifeline() != nullptr) comm.lifeline()->give_signs_of_life(config.federation.deadline);
    mpi::collectively(comm, [&] { config.check(); });
    check_agreement(comm, config);
    const data::Budget budget = {static_cast<std::size_t>(config.data.memory) << 20,
                                 static_cast<std::size_t>(config.federation.threads)};
    Roster roster = assemble(comm, config.data.shards, config.data.skip_bad, budget, config.federation.survive);
    // A participant that may be lost evaluates nothing that the others would then miss.
    double time_of_root = config.federation.survive ? std::numeric_limits<double>::infinity()
                                                    : training_time(participants(comm), config, roster);
    comm.broadcast_struct(time_of_root);  // of as many threads as rank 0 has been told
    load_test(comm, roster, config.data.test, config.data.skip_bad, time_of_root);
    return roster;
  }

  // Every rank reads its options by itself, and the file may be another one here. How much a rank holds and computes at
  // once is its own.
  static void check_agreement(mpi::Communicator& comm, Config config) {
    const std::vector<Option> options = config.options();
    std::string on_root;
    for (const Option& option : options) on_root += option.text() + '\0';  // in no option
    comm.broadcast(on_root);
    mpi::collectively(comm, [&] {
      std::istringstream texts(on_root);
      std::string text;
      for (const Option& option : options)
        if (std::getline(texts, text, '\0') && text != option.text() && option.name != "data.memory" &&
            option.name != "federation.threads")
          fail(ExitCode::usage, "{}: expected '{}' as on rank 0, found '{}'", option.name, text, option.text());
    });
  }

  // For how many examples, one after the other, a participant trains in a round.
  static double training_time(int participants, const Config& config, const Roster& roster) {
    const double clients = expected_cohort(config.federation, roster.clients) / participants;
    const double at_once = std::clamp(clients, 1.0, static_cast<double>(config.federation.threads));
    const double of_client = static_cast<double>(roster.examples) / static_cast<double>(roster.clients);
    return clients / at_once * client::examples_per_round(config.client, of_client);
  }

  // Options that only make sense together with the data, on all ranks before anything is allocated for them.
  std::unique_ptr<model::Model> make_model() {
    std::unique_ptr<model::Model> model;
    mpi::collectively(comm_, [&] {
      roster_.check_none_idle(participants(comm_));
      model = model::make(config_.model, roster_.schema);
      client::make(*model, config_.client);
      server::make(config_.server, 0);
      check_target(config_.stop, roster_.schema.task);
    });
    check_memory(comm_, memory_to_train(comm_, cluster_, config_, roster_, model->layout().size()),
                 "the model and updates");
    return model;
  }

  // The model at hand, in memory that the node shares.
  std::span<float> parameters() { return parameters_.of(0); }

  void lap(double checkpoint::Row::*part) {
    if (coordinator_) coordinator_->lap(part);
  }

  // On rank 0 runs `work`; an error ends the run on all ranks with the next order.
  template <class Work>
  void on_coordinator(Work work) {
    if (!coordinator_) return;
    try {
      work(*coordinator_);
    } catch (const Error& error) {
      failed_ = error.code();
      failure_ = error.what();
    }
  }

  Order first_order() {
    Order order;
    if (failed_ != ExitCode::done) return order;
    on_coordinator([&](Coordinator& c) {
      order.lost = static_cast<std::int32_t>(std::min<std::size_t>(cluster_.lost() - gone_.size(), kAtOnce));
      c.open();
      order.evaluate = c.evaluation_due();
      order.train = !c.stopping();
      order.verdict = order.evaluate || !order.train;
      if (order.train) order.plan = round_.plan(c.round() + 1, c.exponent());
    });
    return order;
  }

  // On all ranks: what the next `lost` ranks hosted goes to those that are left.
  void go_on_without(std::int32_t lost) {
    std::array<std::int32_t, kAtOnce> ranks{};
    for (std::size_t i = 0; coordinator_ && i < static_cast<std::size_t>(lost); ++i)
      ranks[i] = cluster_.lost(gone_.size() + i);
    cluster_.broadcast(ranks);
    std::vector<std::uint64_t> theirs, left;
    for (std::int32_t i = 0; i < lost; ++i) {
      theirs.push_back(static_cast<std::uint64_t>(ranks[static_cast<std::size_t>(i)]) - 1);
      gone_.push_back(theirs.back());
      if (coordinator_)
        coordinator_->record(fmt::format("rank {} did not answer in round {}; it hosted {}", theirs.back() + 1,
                                         coordinator_->round(), roster_.clients_of(theirs.back())));
    }
    for (int p = 0; p < participants(comm_); ++p)
      if (std::find(gone_.begin(), gone_.end(), static_cast<std::uint64_t>(p)) == gone_.end())
        left.push_back(static_cast<std::uint64_t>(p));
    if (left.empty()) return;
    std::uint64_t out_of_reach = roster_.take_over(theirs, left, participant_index(comm_));
    round_.clients_changed();
    cluster_.all_merge<std::uint64_t, add>(out_of_reach, kDeadlinesToLoad);
    if (coordinator_)
      coordinator_->record(out_of_reach == 0
                               ? "the other participants have taken over its clients"
                               : fmt::format("{} of its clients cannot be read by the other participants, "
                                             "or have changed on file, and take no further part",
                                             out_of_reach));
  }
  static void add(std::uint64_t& into, const std::uint64_t& from) { into += from; }

  // Files what is known of the model at hand, saves it when due, and decides whether the run ends with it.
  void close(Order& order) {
    on_coordinator([&](Coordinator& c) {
      if (!c.closed()) c.close();
      order.train = !c.stopping();
    });
  }

  // From rank 0 to all: an order and, if there is one, a vector.
  void announce(Order& order, std::span<float> vector = {}) {
    order.failed = failed_;
    cluster_.broadcast(order, vector);
    if (order.failed == ExitCode::done) return;
    std::array<char, 1000> sentence{};
    failure_.copy(sentence.data(), sentence.size() - 1);
    cluster_.broadcast(sentence);
    leave_the_lost(order.failed);
    throw mpi::CollectiveError(order.failed, sentence.data());
  }

  void measure() {
    evaluator_.measure(parameters());
    lap(&checkpoint::Row::seconds_evaluate);
  }

  void take_down(const Scores& scores) {
    if (!coordinator_) return;
    checkpoint::Row& row = coordinator_->row();
    if (roster_.test_rows > 0) {
      row.test_loss = scores.test.loss;
      row.test_metric = scores.test.metric;
    }
    if (config_.eval.clients) {
      row.client_mean = scores.clients.mean;
      row.client_p10 = scores.clients.p10;
      row.client_p50 = scores.clients.p50;
      row.client_p90 = scores.clients.p90;
      row.client_worst = scores.clients.worst;
    }
    lap(&checkpoint::Row::seconds_evaluate);
  }

  std::span<float> delivered() {
    try {
      return round_.deliver();
    } catch (const mpi::CollectiveError& error) {
      leave_the_lost(error.code());
      throw;
    }
  }

  // On all ranks at the end of the run. Of those who were lost last nobody knows but rank 0.
  void leave_the_lost(ExitCode code) {
    cluster_.look_for_lost();
    if (!gone_.empty() || cluster_.lost() > 0)
      cluster_.abandon_lost(static_cast<int>(code), cluster_.lost() > gone_.size());
  }

  void finish_round() {
    const std::span<float> update = delivered();
    lap(&checkpoint::Row::seconds_exchange);
    if (!coordinator_) return;
    const std::size_t senders = static_cast<std::size_t>(comm_.size() - 1) - cluster_.lost();
    if (cluster_.lost() > 0 && senders == 0) fail(ExitCode::stopped, "no participant is left");
    const Tally& tally = round_.tally();
    coordinator_->step(round_, update, senders == 0 ? 0 : round_.exchange().bytes_up(senders, tally.clients),
                       senders * parameters().size_bytes());
  }

  Outcome outcome() {
    Outcome outcome;
    bool complete = true;
    if (coordinator_) {
      complete = coordinator_->stop()->complete;
      outcome.reason = coordinator_->stop()->reason;
      outcome.checkpoint = coordinator_->saved_as();
      outcome.weights_sha256 = checkpoint::weights_digest(parameters());
      outcome.history = coordinator_->history();
      outcome.metric = checkpoint::metric_name(roster_.schema.task);
    }
    cluster_.broadcast(complete);
    outcome.code = complete ? ExitCode::done : ExitCode::stopped;
    leave_the_lost(outcome.code);
    return outcome;
  }

  const std::chrono::steady_clock::time_point started_ = std::chrono::steady_clock::now();
  mpi::Communicator& comm_;
  const Config& config_;
  Roster roster_;
  std::unique_ptr<mpi::Cluster> owned_cluster_;
  mpi::Cluster& cluster_;
  std::unique_ptr<model::Model> model_;
  ThreadPool pool_;
  Evaluator evaluator_;
  Round round_;
  mpi::Shared<float> parameters_;           // of each node's leader
  std::optional<Coordinator> coordinator_;  // on rank 0
  static constexpr std::size_t kAtOnce = 200;
  static constexpr int kDeadlinesToLoad = 10;  // for the clients of a lost participant
  std::vector<std::uint64_t> gone_;            // participants that the others go on without
  ExitCode failed_ = ExitCode::done;           // rank 0: what ends the run
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
