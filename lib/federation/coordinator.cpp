#include "federation/coordinator.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <cmath>
#include <ctime>
#include <filesystem>
#include <new>
#include <numeric>

#include "base/error.hpp"
#include "secure/ring.hpp"

namespace fedmpi::federation {

namespace fs = std::filesystem;

namespace {

// The sums of eight interleaved parts: a single one would wait for each addition before the next.
double norm(std::span<const float> x) {
  std::array<double, 8> sums{};
  std::size_t j = 0;
  for (; j + sums.size() <= x.size(); j += sums.size())
    for (std::size_t k = 0; k < sums.size(); ++k) sums[k] += double{x[j + k]} * double{x[j + k]};
  for (; j < x.size(); ++j) sums[0] += double{x[j]} * double{x[j]};
  return std::sqrt(std::accumulate(sums.begin(), sums.end(), 0.0));
}

std::string metric_of(const Roster& roster) { return checkpoint::metric_name(roster.schema.task); }

}  // namespace

Coordinator::Coordinator(const Config& config, const Roster& roster, const model::Model& model,
                         std::span<float> parameters, const Observer& observer,
                         std::chrono::steady_clock::time_point started)
    : config_(config),
      roster_(roster),
      observer_(observer),
      directory_(config.run.dir, static_cast<std::size_t>(config.run.keep)),
      optimizer_(server::make(config.server, model.layout().size())),
      parameters_(parameters),
      started_(started),
      clock_(seconds_allowed(config.stop, std::time(nullptr) - static_cast<std::int64_t>(elapsed()))) {
  if (const std::string text = directory_.lock_note(); !text.empty()) note(text);
  state_.seed = config.federation.seed;
  state_.revision = checkpoint::revision();
  state_.config = config.ini();
  state_.schema = roster.schema;
  state_.clients = roster.clients;
  state_.examples = roster.examples;
  state_.roster = roster.digest;
  state_.exponent = secure::kFirstExponent;
  state_.layout = model.layout();
  Stream stream(config.federation.seed, Purpose::initialise);
  model.initialise(stream, parameters_);
  resume();
}

void Coordinator::begin() {
  directory_.set_aside_after(state_.round);
  directory_.write_config(state_.config);
  if (state_.round > saved_round_) {  // of a checkpoint elsewhere: from now on this directory can be gone on from
    if (const std::optional<Error> failure = write_checkpoint()) throw *failure;
    lap(&checkpoint::Row::seconds_checkpoint);
  }
  const auto last_one = [&] { return stop_by_history(config_, roster_.schema.task, state_.history).has_value(); };
  if (closed_ && !evaluated(state_.history.back()) && (due(config_.eval.every) || last_one())) {
    row_ = state_.history.back();
    state_.history.pop_back();
    closed_ = false;
  }
  directory_.begin_history(checkpoint::columns(metric_of(roster_)), state_.history);
}

void Coordinator::note(const std::string& text) const {
  if (observer_.note) observer_.note(text);
}

void Coordinator::resume() {
  const std::string& from = config_.run.resume;
  const std::vector<std::string> present = directory_.checkpoints();
  if (from == "no") {
    if (present.empty()) return;
    fail(ExitCode::cannot_create,
         "run.dir: {} already holds a run; choose another directory, or --run.resume auto to go on", config_.run.dir);
  }
  // A job that is queued again is told the file that it first started from: what it has made since then is its own.
  const auto is_own = [&](const checkpoint::Checkpoint& newest) {
    return from == "auto" || Config::from_ini(newest.config, "the checkpoint's configuration").run.resume == from;
  };
  auto newest = directory_.newest([&](const std::string& text) { note(text); });
  if (newest && is_own(*newest)) {
    restore(std::move(*newest));
    saved_round_ = state_.round;
  } else if (from != "auto") {
    std::error_code error;
    if (!fs::exists(from, error))
      fail(ExitCode::bad_data, "run.resume: expected auto, no, or a checkpoint, found no file '{}'{}", from,
           error ? ": " + error.message() : "");
    newest.reset();
    checkpoint::Checkpoint before = checkpoint::read(from);
    if (!present.empty() && checkpoint::round_of(present.back()) > before.round)
      fail(ExitCode::cannot_create,
           "run.dir: {} holds checkpoints later than round {}; choose another directory to go on from {}",
           config_.run.dir, before.round, from);
    restore(std::move(before));
  }
  if (!state_.history.empty() || state_.round > 0) {
    const bool rounds_left = state_.round < static_cast<std::uint64_t>(config_.federation.rounds);
    note(rounds_left ? fmt::format("going on after round {}", state_.round)
                     : fmt::format("round {} is done already", state_.round));
  }
}

void Coordinator::restore(checkpoint::Checkpoint before) {
  const Config then = Config::from_ini(before.config, "the checkpoint's configuration");
  const std::vector<std::string> differing = conflicts(then, config_);
  if (!differing.empty())
    fail(ExitCode::usage,
         "run.resume: the checkpoint of round {} is of another configuration: {}; name in run.allow what may "
         "differ",
         before.round, fmt::join(differing, "; "));
  if (before.roster != state_.roster)
    fail(ExitCode::bad_data,
         "run.resume: expected the data of the checkpoint ({} clients, {} examples), found other contents ({} "
         "clients, {} "
         "examples)",
         before.clients, before.examples, state_.clients, state_.examples);
  if (before.parameters.size() != parameters_.size())
    fail(ExitCode::usage, "run.resume: expected a model of {} parameters, found {} in the checkpoint",
         parameters_.size(), before.parameters.size());
  for (const server::State& s : optimizer_->state()) {
    const auto saved = std::find_if(before.server.begin(), before.server.end(), [&](const auto& b) {
      return b.first == s.name && b.second.size() == s.values->size();
    });
    if (saved != before.server.end())
      *s.values = std::move(saved->second);
    else if (then.server.optimizer == config_.server.optimizer)
      fail(ExitCode::bad_data, "run.resume: expected the optimizer's state 'server/{}', found none in the checkpoint",
           s.name);
  }
  state_.round = before.round;
  state_.exponent = before.exponent;
  std::copy(before.parameters.begin(), before.parameters.end(), parameters_.begin());
  state_.history = std::move(before.history);
  state_.events = std::move(before.events);
  for (const checkpoint::Row& row : state_.history) clock_.record_earlier(row);
  closed_ = true;
}

bool Coordinator::evaluated(const checkpoint::Row& row) const {
  return (roster_.test_rows == 0 || !std::isnan(row.test_loss)) &&
         (!config_.eval.clients || !std::isnan(row.client_mean));
}

bool Coordinator::due(std::int64_t every) const {
  return every > 0 && state_.round % static_cast<std::uint64_t>(every) == 0;
}

bool Coordinator::evaluation_due() const {
  const bool measurable = roster_.test_rows > 0 || config_.eval.clients;
  const bool complete = stop_ && stop_->complete;  // else there may be little time left to save
  return measurable && !closed_ && (complete || due(config_.eval.every));
}

bool Coordinator::checkpoint_due() const {
  return !closed_ && (stopping() || unsaved_since_ ||
                      (state_.round > 0 && (due(config_.run.checkpoint_every) || clock_.wants_checkpoint())));
}

void Coordinator::record(const std::string& event) {
  state_.events += event + "\n";
  note(event);
}

void Coordinator::open() {
  std::vector<checkpoint::Row>& history = state_.history;
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

void Coordinator::close() {
  state_.history.back() = row_;
  if (const auto stop = stop_by_history(config_, roster_.schema.task, state_.history)) stop_ = stop;
  if (stop_) {  // what has been trained meanwhile counts for nothing, but its time does
    for (const auto part : checkpoint::kParts) row_.*part += next_.*part;
    row_.seconds += round_watch_.lap();
    state_.history.back() = row_;
  }
  try {
    directory_.append_history(state_.history);
  } catch (const Error& error) {  // checkpoints hold these rows too
    note(fmt::format("{}; trying again after the next round", error.what()));
  }
  if (observer_.row) observer_.row(row_, metric_of(roster_));
  const bool save_now = checkpoint_due();
  closed_ = true;
  lap(&checkpoint::Row::seconds_server);
  if (save_now) save();
}

// Writes a checkpoint of the model in hand; returns what prevented it. Model and optimizer's state are lent, not
// copied.
std::optional<Error> Coordinator::write_checkpoint() {
  const std::vector<server::State> states = optimizer_->state();
  std::optional<Error> failure;
  try {
    state_.lent = parameters_;
    for (const server::State& s : states) state_.server.emplace_back(s.name, std::move(*s.values));
    saved_as_ = directory_.save(state_);
    saved_round_ = state_.round;
    unsaved_since_.reset();
  } catch (const Error& error) {
    failure = error;
  } catch (const std::bad_alloc&) {
    failure = Error(ExitCode::io, fmt::format("round {} cannot be saved: not enough memory", state_.round));
  }
  for (std::size_t i = 0; i < state_.server.size(); ++i) *states[i].values = std::move(state_.server[i].second);
  state_.server.clear();
  return failure;
}

void Coordinator::save() {
  const std::optional<Error> failure = write_checkpoint();
  if (failure) {
    // A disk that is full may have room again: the run goes on for as long as it usually goes without a checkpoint.
    if (!unsaved_since_) unsaved_since_ = state_.round;
    const std::uint64_t every = static_cast<std::uint64_t>(config_.run.checkpoint_every);
    if (stopping() || (every > 0 && state_.round >= *unsaved_since_ + every)) throw *failure;
    note(fmt::format("{}; trying again after the next round", failure->what()));
  }
  lap(&checkpoint::Row::seconds_checkpoint);
}

void Coordinator::rescue() {
  if (state_.round == 0) return;
  const std::optional<Error> failure = saved_round_ == state_.round ? std::nullopt : write_checkpoint();
  if (failure)
    note(fmt::format("{}; the rounds after {} are lost", failure->what(), saved_round_));
  else
    note(fmt::format("round {} is saved in {}; --run.resume auto goes on from there", state_.round, config_.run.dir));
}

void Coordinator::step(const Round& round, std::span<float> update, std::size_t bytes_up, std::size_t bytes_down) {
  const Tally& tally = round.tally();
  next_.train_loss =
      tally.examples > 0 ? tally.loss.value() / static_cast<double>(tally.examples) : checkpoint::kUnknown;
  next_.update_norm = norm(update);
  next_.clients = tally.clients;
  next_.examples = tally.examples;
  next_.dropped = tally.bad;
  next_.lost = round.lost();
  next_.bytes_up = bytes_up;
  next_.bytes_down = bytes_down;
  state_.exponent = round.next_exponent();
  optimizer_->step(++state_.round, update, parameters_);
  lap(&checkpoint::Row::seconds_server);
  next_.round = state_.round;
  next_.seconds = round_watch_.lap();
  row_ = std::exchange(next_, {});
  clock_.record(row_);
  closed_ = false;
}

}  // namespace fedmpi::federation
