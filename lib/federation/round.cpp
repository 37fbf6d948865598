// One round:
//   1. every rank draws the same cohort and finds its own clients in it;
//   2. each of them trains from the broadcast parameters, on the rank's threads;
//   3. every update is checked and handed to the exchange with its weight;
//   4. all ranks learn the losses, the bad updates and the largest value seen;
//   5. if that value does not fit the scale of the exact sum the scale is changed, and if anything has been encoded
//      with the old one, 2 to 4 are done again: training is a function of its inputs, so the updates come out the same;
//   6. the exchange delivers the aggregate to rank 0.
#include "federation/round.hpp"

#include <algorithm>
#include <cmath>
#include <mutex>

#include "base/error.hpp"
#include "base/magnitude.hpp"
#include "base/names.hpp"
#include "data/prefetcher.hpp"
#include "federation/cohort.hpp"
#include "mpi/collective_error.hpp"
#include "secure/ring.hpp"

namespace fedmpi::federation {

namespace {

void merge(Tally& into, const Tally& from) {
  into.loss.add(from.loss);
  into.clients += from.clients;
  into.examples += from.examples;
  into.weight += from.weight;
  into.bad += from.bad;
  into.first_bad = std::min(into.first_bad, from.first_bad);
  into.largest = std::max(into.largest, from.largest);
  into.encoded |= from.encoded;
}

std::size_t training_threads(const mpi::Communicator& comm, const ThreadPool& pool) {
  return participant_index(comm) < 0 ? 0 : pool.size();
}

}  // namespace

Round::Round(mpi::Communicator& comm, mpi::Cluster& cluster, const Config& config, const Roster& roster,
             const model::Model& model, ThreadPool& pool)
    : comm_(comm),
      cluster_(cluster),
      config_(config),
      roster_(roster),
      model_(model),
      pool_(pool),
      algorithm_(client::make(model, config.client)),
      exchange_(aggregate::make_exchange(aggregate::kind(config.aggregate), model.layout().size(),
                                         {comm, cluster, training_threads(comm, pool)})) {
  clients_changed();
}

void Round::clients_changed() {
  workers_.clear();
  for (std::size_t t = 0; t < training_threads(comm_, pool_); ++t)
    workers_.emplace_back(model_, roster_.schema, config_.client, roster_.mine.largest_client());
}

void Round::draw(std::uint64_t round) {
  const Sampling& sampling = find_by_name(samplings(), config_.federation.sampling, "federation.sampling");
  const double expected = expected_cohort(config_.federation, roster_.clients);
  draw_cohort(sampling, roster_.clients, expected, config_.federation.seed, round, cohort_);
}

RoundPlan Round::plan(std::uint64_t round, int exponent) {
  RoundPlan plan{round, 0, 0, exponent};
  draw(round);
  constexpr std::size_t kAhead = 16;  // few of many: their sizes are in no cache yet
  for (std::size_t i = 0; i < cohort_.size(); ++i) {
    if (i + kAhead < cohort_.size()) __builtin_prefetch(&roster_.sizes[cohort_[i + kAhead]]);
    const std::uint64_t weight = aggregate::weight(config_.aggregate, roster_.sizes[cohort_[i]]);
    plan.cohort_weight += weight;
    plan.cohort += weight > 0 ? 1 : 0;
  }
  return plan;
}

void Round::train(const RoundPlan& plan, std::span<const float> parameters) {
  plan_ = plan;
  find_my_clients();
  for (;;) {
    exchange_->begin(mine_.size());
    exchange_->set_exponent(plan_.exponent);
    own_ = train_mine(parameters);
    tell_all();
    if (exchange_->fits(tally_.largest, plan_.exponent)) return;
    plan_.exponent = secure::exponent_for(tally_.largest);
    exchange_->set_exponent(plan_.exponent);
    if (!tally_.encoded) return;
  }
}

void Round::tell_all() {
  tally_ = own_;
  lost_ = cluster_.lost();
  cluster_.all_merge<Tally, merge>(tally_);
}

std::span<float> Round::deliver() {
  if (tally_.bad > 0 && config_.federation.bad_update == "abort") report_bad_update();
  for (;;) {
    const double arrived = static_cast<double>(tally_.weight);
    const std::span<float> sum =
        exchange_->deliver(arrived > 0 ? static_cast<double>(plan_.cohort_weight) / arrived : 0.0);
    if (!cluster_.survives()) return sum;
    // Who was lost meanwhile may be in the tally and not in the sum: once more without it.
    bool again = cluster_.lost() > lost_;
    cluster_.broadcast(again);
    if (!again) return sum;
    tell_all();
  }
}

int Round::next_exponent() const { return tally_.largest > 0 ? secure::exponent_for(tally_.largest) : plan_.exponent; }

void Round::find_my_clients() {
  mine_.clear();
  if (workers_.empty()) return;
  draw(plan_.round);
  roster_.mine.find(cohort_, mine_);
  // The largest first, so that the threads end together.
  std::stable_sort(mine_.begin(), mine_.end(), [](const auto& a, const auto& b) { return a.size > b.size; });
}

Tally Round::train_mine(std::span<const float> parameters) {
  Tally tally;
  std::mutex mutex;
  roster_.mine.prefetcher().start(mine_);
  pool_.run(mine_.size(), [&](std::size_t thread, std::size_t i) {
    const data::ClientExamples examples = roster_.mine.prefetcher().take(thread, i);
    client::Worker& worker = workers_[thread];
    worker.parameters = exchange_->room(thread);
    const std::size_t next = i + workers_.size();  // the client that this thread takes next, or one near it
    worker.batch.to_prefetch = next < mine_.size() ? mine_[next].to_prefetch() : std::span<const std::byte>();
    const double loss = algorithm_->train({examples, parameters, plan_.round, config_.federation.seed}, worker);
    const float largest = largest_magnitude(worker.parameters);
    const std::uint64_t weight = aggregate::weight(config_.aggregate, examples.size);
    Tally one;
    if (std::isfinite(largest)) {
      exchange_->take(thread, static_cast<double>(weight) / static_cast<double>(plan_.cohort_weight), largest);
      one.loss.add(loss * static_cast<double>(examples.size));
      one.clients = 1;
      one.examples = examples.size;
      one.weight = weight;
      one.largest = largest;
    } else {
      one.bad = 1;
      one.first_bad = examples.id;
    }
    const std::lock_guard lock(mutex);
    merge(tally, one);
  });
  tally.encoded = exchange_->encoded();
  return tally;
}

void Round::report_bad_update() {
  const auto report = [&](const std::string& client) {
    return fmt::format(
        "{}: expected a finite update, found NaN or Inf in round {} ({} such clients); lower client.lr, or set "
        "federation.bad-update drop to go on without them",
        client, plan_.round, tally_.bad);
  };
  if (cluster_.survives())  // its host, which alone can tell the name, may be gone
    throw mpi::CollectiveError(ExitCode::bad_data, report(fmt::format("client {}", tally_.first_bad)));
  mpi::collectively(comm_, [&] {
    if (roster_.mine.has(tally_.first_bad)) fail(ExitCode::bad_data, "{}", report(roster_.describe(tally_.first_bad)));
  });
}

}  // namespace fedmpi::federation
