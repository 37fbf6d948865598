// One round:
//   1. every rank draws the same cohort and finds its own clients in it;
//   2. each of them trains from the broadcast parameters, on the rank's threads;
//   3. every update is checked and added, weighted, to the rank's contribution;
//   4. all ranks learn the losses, the bad updates and the largest value seen;
//   5. if that value does not fit the scale of the exact sum, 2 to 4 are done again with the scale that fits:
//      training is a function of its inputs, so the updates come out the same;
//   6. the exchange delivers the aggregate to rank 0.
#include "federation/round.hpp"

#include <algorithm>
#include <chrono>
#include <cmath>
#include <mutex>

#include "base/error.hpp"
#include "base/magnitude.hpp"
#include "base/names.hpp"
#include "federation/cohort.hpp"
#include "secure/ring.hpp"

namespace fedmpi::federation {

namespace {

using Clock = std::chrono::steady_clock;

double seconds_since(Clock::time_point start) { return std::chrono::duration<double>(Clock::now() - start).count(); }

void merge(Tally& into, const Tally& from) {
  into.loss.add(from.loss);
  into.clients += from.clients;
  into.examples += from.examples;
  into.weight += from.weight;
  into.bad += from.bad;
  into.first_bad = std::min(into.first_bad, from.first_bad);
  into.largest = std::max(into.largest, from.largest);
}

}  // namespace

Round::Round(mpi::Communicator& comm, const Config& config, const Roster& roster, const model::Model& model,
             ThreadPool& pool)
    : comm_(comm),
      config_(config),
      roster_(roster),
      model_(model),
      pool_(pool),
      algorithm_(client::make(model, config.client)),
      exchange_(aggregate::make_exchange(aggregate::kind(config.aggregate), model.layout().size())) {
  if (participant_index(comm) < 0) return;
  for (std::size_t t = 0; t < pool.size(); ++t)
    workers_.emplace_back(model, roster.schema, config.client, roster.mine.largest_client());
}

double Round::expected_cohort() const {
  const double clients = static_cast<double>(roster_.clients);
  return config_.federation.cohort > 0 ? std::min(clients, static_cast<double>(config_.federation.cohort))
                                       : config_.federation.fraction * clients;
}

void Round::draw(std::uint64_t round) {
  const Sampling& sampling = find_by_name(samplings(), config_.federation.sampling, "federation.sampling");
  draw_cohort(sampling, roster_.clients, expected_cohort(), config_.federation.seed, round, cohort_);
}

RoundPlan Round::plan(std::uint64_t round, int exponent) {
  RoundPlan plan{round, 0, exponent};
  draw(round);
  for (const data::ClientId id : cohort_) plan.cohort_weight += aggregate::weight(config_.aggregate, roster_.sizes[id]);
  return plan;
}

RoundResult Round::run(const RoundPlan& plan, std::span<const float> parameters, std::span<float> update) {
  RoundResult result;
  const auto start = Clock::now();
  const std::vector<data::ClientExamples> clients = my_clients(plan.round);
  RoundPlan attempt = plan;
  for (;;) {
    exchange_->begin(clients.size(), attempt.exponent);
    result.tally = train(attempt, clients, parameters);
    comm_.all_merge<Tally, merge>(result.tally);
    if (exchange_->fits(result.tally.largest, attempt.exponent)) break;
    attempt.exponent = secure::exponent_for(result.tally.largest);
  }
  if (result.tally.bad > 0 && config_.federation.bad_update == "abort") report_bad_update(result.tally, plan.round);
  result.seconds_train = seconds_since(start);

  const auto exchanging = Clock::now();
  const double arrived = static_cast<double>(result.tally.weight);
  exchange_->deliver(comm_, arrived > 0 ? static_cast<double>(plan.cohort_weight) / arrived : 0.0, update);
  result.next_exponent = result.tally.largest > 0 ? secure::exponent_for(result.tally.largest) : attempt.exponent;
  result.seconds_exchange = seconds_since(exchanging);
  return result;
}

std::vector<data::ClientExamples> Round::my_clients(std::uint64_t round) {
  std::vector<data::ClientExamples> clients;
  if (workers_.empty()) return clients;
  draw(round);
  for (const data::ClientId id : cohort_) {
    if (!roster_.mine.has(id)) continue;
    const data::ClientExamples client = roster_.mine.client(id);
    if (client.size > 0) clients.push_back(client);  // all its rows may have been dropped as bad
  }
  // The largest first, so that the threads end together.
  std::stable_sort(clients.begin(), clients.end(), [](const auto& a, const auto& b) { return a.size > b.size; });
  return clients;
}

Tally Round::train(const RoundPlan& plan, std::span<const data::ClientExamples> clients,
                   std::span<const float> parameters) {
  Tally tally;
  std::mutex mutex;
  pool_.run(clients.size(), [&](std::size_t thread, std::size_t i) {
    const data::ClientExamples& examples = clients[i];
    client::Worker& worker = workers_[thread];
    const double loss = algorithm_->train({examples, parameters, plan.round, config_.federation.seed}, worker);
    const float largest = largest_magnitude(worker.parameters);
    const std::uint64_t weight = aggregate::weight(config_.aggregate, examples.size);
    const bool good = std::isfinite(largest);
    // What outgrows the scale is left out: the round is done again with a scale that fits.
    if (good && !exchange_->overflows(largest, plan.exponent))
      exchange_->add(worker.parameters, static_cast<double>(weight) / static_cast<double>(plan.cohort_weight));

    const std::lock_guard lock(mutex);
    Tally one;
    if (good) {
      one.loss.add(loss * static_cast<double>(examples.size));
      one.clients = 1;
      one.examples = examples.size;
      one.weight = weight;
      one.largest = largest;
    } else {
      one.bad = 1;
      one.first_bad = examples.id;
    }
    merge(tally, one);
  });
  return tally;
}

void Round::report_bad_update(const Tally& tally, std::uint64_t round) {
  mpi::collectively(comm_, [&] {
    if (!roster_.mine.has(tally.first_bad)) return;
    fail(ExitCode::bad_data,
         "{}: expected a finite update, found NaN or Inf in round {} ({} such clients); lower client.lr, or "
         "set "
         "federation.bad-update drop to go on without them",
         roster_.describe(tally.first_bad), round, tally.bad);
  });
}

}  // namespace fedmpi::federation
