#include "federation/coordinator.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <ctime>
#include <new>

#include "base/error.hpp"
#include "base/magnitude.hpp"

namespace fedmpi::federation {

namespace {

std::string metric_of(const Roster& roster) { return checkpoint::metric_name(roster.schema.task); }

}  // namespace

Coordinator::Coordinator(const Config& config, const Roster& roster, const model::Model& model,
                         const client::Algorithm& algorithm, const Layout& message, Global global,
                         const Observer& observer, std::chrono::steady_clock::time_point started)
    : config_(config),
      roster_(roster),
      algorithm_(algorithm),
      observer_(observer),
      directory_(config.run.dir, static_cast<std::size_t>(config.run.keep)),
      optimizer_(server::make(config.server, model.layout().size())),
      message_(message),
      down_(algorithm.down()),
      global_(global),
      scale_(secure::first_scale(message)),
      started_(started),
      clock_(seconds_allowed(config.stop, std::time(nullptr) - static_cast<std::int64_t>(elapsed()))) {
  if (const std::string text = directory_.lock_note(); !text.empty()) note(text);
  facts_.seed = config.federation.seed;
  facts_.revision = checkpoint::revision();
  facts_.config = config.ini();
  facts_.schema = roster.schema;
  facts_.clients = roster.clients;
  facts_.examples = roster.examples;
  facts_.roster = roster.digest;
  facts_.layout = model.layout();
  Stream stream(config.federation.seed, Purpose::initialise);
  model.initialise(stream, global_.model, global_.frozen);
  if (!global_.frozen.empty()) facts_.frozen = checkpoint::weights_digest(global_.frozen);
  std::fill(global_.down.begin(), global_.down.end(), 0.0F);
  resume();
}

void Coordinator::begin() {
  directory_.set_aside_after(facts_.round);
  directory_.write_config(facts_.config);
  const auto last_one = [&] { return stop_by_history(config_, roster_.schema.task, facts_.history).has_value(); };
  if (closed_ && !evaluated(facts_.history.back()) && (due(config_.eval.every) || last_one())) {
    row_ = facts_.history.back();
    facts_.history.pop_back();
    closed_ = false;
  }
  directory_.begin_history(checkpoint::columns(metric_of(roster_)), facts_.history);
}

void Coordinator::note(const std::string& text) const {
  if (observer_.note) observer_.note(text);
}

bool Coordinator::evaluated(const checkpoint::Row& row) const {
  return (roster_.test_rows == 0 || !std::isnan(row.test_loss)) &&
         (!config_.eval.clients || !std::isnan(row.client_mean));
}

bool Coordinator::due(std::int64_t every) const {
  return every > 0 && facts_.round % static_cast<std::uint64_t>(every) == 0;
}

bool Coordinator::evaluation_due() const {
  const bool measurable = roster_.test_rows > 0 || config_.eval.clients;
  const bool complete = stop_ && stop_->complete;  // else there may be little time left to save
  return measurable && !closed_ && (complete || due(config_.eval.every));
}

bool Coordinator::checkpoint_due() const {
  // A state that came from elsewhere is saved at once: from then on this directory can be continued.
  if (saved_round_ < beginning_.round) return true;
  return !closed_ && (stopping() || unsaved_since_ ||
                      (facts_.round > 0 && (due(config_.run.checkpoint_every) || clock_.wants_checkpoint())));
}

void Coordinator::record(const std::string& event) {
  facts_.events += event + "\n";
  note(event);
}

void Coordinator::open() {
  std::vector<checkpoint::Row>& history = facts_.history;
  if (!closed_) history.push_back(row_);  // as far as it is known
  stop_ = stop_by_history(config_, roster_.schema.task, history);
  if (!stop_) stop_ = stop_by_signal();
  if (!stop_) stop_ = clock_.stop(elapsed());
}

double Coordinator::elapsed() const {
  return std::chrono::duration<double>(std::chrono::steady_clock::now() - started_).count();
}

void Coordinator::lap(double checkpoint::Row::*part) {
  checkpoint::Row& row = stop_ ? row_ : next_;  // a reference, since GCC 12 lets (a ? b : c).*part be of a copy
  row.*part += watch_.lap();
}

bool Coordinator::close() {
  if (!all_finite(global_.model))
    fail(ExitCode::bad_data,
         "the model is not finite after round {}; lower server.lr or client.lr. What was saved before is intact",
         facts_.round);
  facts_.history.back() = row_;
  if (const auto stop = stop_by_history(config_, roster_.schema.task, facts_.history)) stop_ = stop;
  if (stop_) {  // what has been trained meanwhile counts for nothing, but its time does
    for (const auto part : checkpoint::kParts) row_.*part += next_.*part;
    row_.seconds += round_watch_.lap();
    facts_.history.back() = row_;
  }
  try {
    directory_.append_history(facts_.history);
  } catch (const Error& error) {  // checkpoints hold these rows too
    note(fmt::format("{}; trying again after the next round", error.what()));
  }
  if (observer_.row) observer_.row(row_, metric_of(roster_));
  const bool due = checkpoint_due();
  closed_ = true;
  lap(&checkpoint::Row::seconds_server);
  return due;
}

// Writes a checkpoint of the model at hand; returns what prevented it.
std::optional<Error> Coordinator::write_checkpoint() {
  try {
    facts_.exponents.assign(scale_.exponents.begin(),
                            scale_.exponents.begin() + static_cast<std::ptrdiff_t>(message_.tensors().size()));
    checkpoint::Snapshot snapshot{facts_, global_.model, {}};
    for (const server::State& s : optimizer_->state()) snapshot.states.emplace_back("server/" + s.name, *s.values);
    for (std::size_t i = 0; i < down_.tensors().size(); ++i)
      snapshot.states.emplace_back("algorithm/" + down_.tensors()[i].path(),
                                   down_.part(std::span<const float>(global_.down), i));
    saved_as_ = directory_.save(snapshot);
    saved_round_ = facts_.round;
    unsaved_since_.reset();
  } catch (const Error& error) {
    return error;
  } catch (const std::bad_alloc&) {
    return Error(ExitCode::io, fmt::format("round {} cannot be saved: not enough memory", facts_.round));
  }
  return std::nullopt;
}

void Coordinator::save(const client::StatesSum& states, const std::optional<Error>& stored) {
  facts_.client_states = states;
  const std::optional<Error> failure = stored ? stored : write_checkpoint();
  if (failure) {
    // A disk that is full may have room again: the run goes on for as long as it usually does without a checkpoint.
    const bool first = saved_round_ < beginning_.round;
    if (!unsaved_since_) unsaved_since_ = facts_.round;
    const std::uint64_t every = static_cast<std::uint64_t>(config_.run.checkpoint_every);
    if (first || stopping() || (every > 0 && facts_.round >= *unsaved_since_ + every)) throw Error(*failure);
    note(fmt::format("{}; trying again after the next round", failure->what()));
  }
  lap(&checkpoint::Row::seconds_checkpoint);
}

void Coordinator::rescue() {
  if (facts_.round == 0) return;
  std::optional<Error> failure;
  if (saved_round_ != facts_.round)
    failure = algorithm_.kept().size() == 0
                  ? write_checkpoint()
                  : Error(ExitCode::stopped, "what the clients keep cannot be stored without their participants");
  if (failure)
    note(fmt::format("{}; the rounds after {} are lost", failure->what(), saved_round_));
  else
    note(fmt::format("round {} is saved in {}; --run.resume auto continues from there", facts_.round, config_.run.dir));
}

void Coordinator::step(const Round& round, const client::Message& mean, const mpi::Traffic& traffic) {
  const Tally& tally = round.tally();
  const double labels = tally.labels.value();
  next_.train_loss = labels > 0 ? tally.loss.value() / labels : checkpoint::kUnknown;
  next_.clients = tally.clients;
  next_.examples = tally.examples;
  next_.dropped = tally.bad;
  next_.clipped = tally.clipped;
  next_.lost = round.lost();
  next_.bytes_up = traffic.up;
  next_.bytes_down = traffic.down;
  scale_ = round.next_scale();
  ++facts_.round;
  next_.update_norm = norm(mean.update);
  if (tally.clients > 0) {  // an optimizer with momentum would step on without an update
    algorithm_.conclude(mean, global_.down, round.arrived());
    optimizer_->step(facts_.round, mean.update, global_.model);
  }
  lap(&checkpoint::Row::seconds_server);
  next_.round = facts_.round;
  next_.seconds = round_watch_.lap();
  row_ = std::exchange(next_, {});
  clock_.record(row_);
  closed_ = false;
}

}  // namespace fedmpi::federation
