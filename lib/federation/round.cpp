// One round:
//   1. every rank draws the same cohort and finds its own clients in it;
//   2. each of them trains from the broadcast model, on the rank's threads;
//   3. every update is filtered, every reply checked, and its message handed to the exchange with its weight;
//   4. all ranks learn the losses, the bad replies and the largest values seen;
//   5. if these do not fit the scale of the exact sum the scale is changed, and if anything has been encoded with the
//      old one, 2 to 4 are done again: training is a function of its inputs, so the replies come out the same;
//   6. the exchange delivers the aggregate to rank 0. Only then does the round count, and what clients keep is kept.
#include "federation/round.hpp"

#include <algorithm>
#include <cmath>
#include <mutex>

#include "base/error.hpp"
#include "base/names.hpp"
#include "client/host_local.hpp"
#include "data/prefetcher.hpp"
#include "federation/cohort.hpp"
#include "mpi/collective_error.hpp"
#include "secure/ring.hpp"

namespace fedmpi::federation {

namespace {

void merge(Tally& into, const Tally& from) {
  into.loss.add(from.loss);
  into.labels.add(from.labels);
  into.clients += from.clients;
  into.examples += from.examples;
  into.weight += from.weight;
  into.clipped += from.clipped;
  into.bad += from.bad;
  into.first_bad = std::min(into.first_bad, from.first_bad);
  secure::take_larger(into.largest, from.largest);
  into.encoded |= from.encoded;
  into.halt |= from.halt;
}

std::size_t training_threads(const Roster& roster, const ThreadPool& pool) {
  return roster.seats.trains() ? pool.size() : 0;
}

}  // namespace

Layout message_of(const model::Model& model, const client::Algorithm& algorithm, const update::Options& filters) {
  TensorOptions update;
  for (const auto& filter : update::make(filters))
    if (filter->bound()) update.exponent = secure::exponent_for(*filter->bound());
  Layout message;
  message.add("", "update", {model.layout().size()}, update);
  message.append(algorithm.up());
  return message;
}

Round::Round(mpi::Communicator& comm, mpi::Cluster& cluster, const Config& config, const Roster& roster,
             const model::Model& model, std::span<const float> frozen, const client::Algorithm& algorithm,
             client::States& states, ThreadPool& pool)
    : comm_(comm),
      cluster_(cluster),
      config_(config),
      roster_(roster),
      model_(model),
      frozen_(frozen),
      algorithm_(algorithm),
      states_(states),
      pool_(pool),
      filters_(update::make(config.update)),
      message_(message_of(model, algorithm, config.update)),
      rest_(message_.tensors().size() > 1 ? message_.tensors()[1].offset : message_.size()),
      exchange_(aggregate::make_exchange(aggregate::kind(config.aggregate), message_,
                                         {comm, cluster, training_threads(roster, pool)})) {
  for (const std::uint32_t size : roster.sizes) weight_of_all_ += aggregate::weight(config.aggregate, size);
  clients_changed();
}

void Round::clients_changed() {
  locals_.clear();
  for (std::size_t t = 0; t < training_threads(roster_, pool_); ++t)
    locals_.push_back(
        std::make_unique<client::HostLocal>(model_, roster_.schema, roster_.mine.largest_client(), frozen_));
}

void Round::draw(std::uint64_t round) {
  const Sampling& sampling = find_by_name(samplings(), config_.federation.sampling, "federation.sampling");
  const double expected = expected_cohort(config_.federation, roster_.clients);
  draw_cohort(sampling, roster_.clients, expected, config_.federation.seed, round, cohort_);
}

RoundPlan Round::plan(std::uint64_t round, const secure::Scale& scale) {
  RoundPlan plan{.round = round, .scale = scale};
  draw(round);
  constexpr std::size_t kAhead = 16;  // few of many: their sizes are in no cache yet
  for (std::size_t i = 0; i < cohort_.size(); ++i) {
    if (i + kAhead < cohort_.size()) __builtin_prefetch(&roster_.sizes[cohort_[i + kAhead]]);
    const std::uint64_t weight = aggregate::weight(config_.aggregate, roster_.sizes[cohort_[i]]);
    plan.cohort_weight += weight;
    plan.cohort += weight > 0 ? 1 : 0;
  }
  plan.denominator = static_cast<double>(plan.cohort_weight);
  if (config_.aggregate.denominator == "expected")
    plan.denominator = static_cast<double>(weight_of_all_) * expected_cohort(config_.federation, roster_.clients) /
                       static_cast<double>(roster_.clients);
  return plan;
}

void Round::train(const RoundPlan& plan, const Broadcast& from, bool halt) {
  plan_ = plan;
  find_my_clients();
  for (;;) {
    states_.forget();
    exchange_->begin(mine_.size());
    exchange_->set_scale(plan_.scale);
    own_ = train_mine(from);
    own_.halt = halt;
    tell_all();
    if (tally_.halt || fits()) return;
    plan_.scale = secure::scale_for(message_, tally_.largest, plan_.share(), plan_.scale);
    exchange_->set_scale(plan_.scale);
    if (!tally_.encoded) return;
  }
}

bool Round::fits() const {
  return !exchange_->has_scale() || secure::fits(message_, tally_.largest, plan_.share(), plan_.scale);
}

void Round::tell_all() {
  tally_ = own_;
  lost_ = cluster_.lost();
  cluster_.all_merge<Tally, merge>(tally_);
}

client::Message Round::deliver() {
  if (tally_.bad > 0 && config_.federation.bad_update == "abort") report_bad_update();
  for (;;) {
    // Of a mean over those who came; a denominator that is expected stays as it is.
    double correction = 1.0;
    if (config_.aggregate.denominator != "expected")
      correction = tally_.weight > 0 ? plan_.denominator / static_cast<double>(tally_.weight) : 0.0;
    const std::span<float> sum = exchange_->deliver(correction);
    // Who was lost meanwhile may be in the tally and not in the sum: once more without it.
    bool again = cluster_.lost() > lost_;
    if (cluster_.survives()) cluster_.broadcast(again);
    if (!again) {
      states_.keep();
      return sum.empty() ? client::Message() : parts_of(sum);
    }
    tell_all();
  }
}

client::Arrived Round::arrived() const {
  return {.share =
              static_cast<double>(tally_.weight) / static_cast<double>(std::max<std::uint64_t>(1, weight_of_all_))};
}

secure::Scale Round::next_scale() const {
  return secure::scale_for(message_, tally_.largest, plan_.share(), plan_.scale);
}

client::Message Round::parts_of(std::span<float> message) const {
  return {message.first(model_.layout().size()), message.subspan(rest_)};
}

void Round::find_my_clients() {
  mine_.clear();
  if (locals_.empty()) return;
  draw(plan_.round);
  roster_.mine.find(cohort_, mine_);
  // The largest first, so that the threads end together.
  std::stable_sort(mine_.begin(), mine_.end(), [](const auto& a, const auto& b) { return a.size > b.size; });
}

Tally Round::train_mine(const Broadcast& from) {
  Tally tally;
  std::mutex mutex;
  roster_.mine.prefetcher().start(mine_);
  pool_.run(mine_.size(), [&](std::size_t thread, std::size_t i) {
    const data::ClientExamples examples = roster_.mine.prefetcher().take(thread, i);
    const std::size_t next = i + locals_.size();  // the client that this thread takes next, or one near it
    locals_[thread]->prefetch_next(next < mine_.size() ? &mine_[next] : nullptr);
    const Tally one = train_one(thread, examples, from);
    const std::lock_guard lock(mutex);
    merge(tally, one);
  });
  tally.encoded = exchange_->encoded();
  return tally;
}

Tally Round::train_one(std::size_t thread, const data::ClientExamples& examples, const Broadcast& from) {
  const std::span<float> room = exchange_->room(thread);
  const client::Reply reply = {parts_of(room), states_.next(examples.id)};
  const auto [score, seen] = algorithm_.train({.examples = examples,
                                               .global = from.model,
                                               .down = from.down,
                                               .kept = states_.of(examples.id),
                                               .round = plan_.round,
                                               .seed = config_.federation.seed},
                                              *locals_[thread], reply);
  Tally tally;
  for (const auto& filter : filters_) tally.clipped += filter->apply(reply.update) ? 1 : 0;
  tally.largest = secure::largest_of(message_, room);
  if (!secure::all_finite(tally.largest)) {
    states_.forget(examples.id);
    Tally bad;
    bad.bad = 1;
    bad.first_bad = examples.id;
    return bad;
  }
  const std::uint64_t weight = aggregate::weight(config_.aggregate, examples.size);
  exchange_->take(thread, static_cast<double>(weight) / plan_.denominator, tally.largest);
  if (score.count > 0) {
    const double labels = score.count * static_cast<double>(examples.size) / static_cast<double>(seen);  // of one pass
    tally.loss.add(score.loss / score.count * labels);
    tally.labels.add(labels);
  }
  tally.clients = 1;
  tally.examples = examples.size;
  tally.weight = weight;
  return tally;
}

void Round::report_bad_update() {
  states_.forget();
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
