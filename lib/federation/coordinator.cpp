#include "federation/coordinator.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>

#include "base/error.hpp"
#include "secure/ring.hpp"

namespace fedmpi::federation {

namespace {

double norm(std::span<const float> x) {
  double sum = 0.0;
  for (const float v : x) sum += double{v} * double{v};
  return std::sqrt(sum);
}

std::string metric_of(const Roster& roster) { return checkpoint::metric_name(roster.schema.task); }

}  // namespace

Coordinator::Coordinator(const Config& config, const Roster& roster, const model::Model& model,
                         const Observer& observer)
    : config_(config),
      roster_(roster),
      observer_(observer),
      directory_(config.run.dir, static_cast<std::size_t>(config.run.keep)),
      optimizer_(server::make(config.server, model.layout().size())),
      update_(model.layout().size()),
      clock_(config.stop.minutes) {
  state_.seed = config.federation.seed;
  state_.revision = checkpoint::revision();
  state_.config = config.ini();
  state_.schema = roster.schema;
  state_.clients = roster.clients;
  state_.examples = roster.examples;
  state_.roster = roster.digest;
  state_.exponent = secure::kFirstExponent;
  state_.layout = model.layout();
  state_.parameters.resize(model.layout().size());
  Stream stream(config.federation.seed, Purpose::initialise);
  model.initialise(stream, state_.parameters);
  resume();
}

void Coordinator::begin() {
  directory_.write_config(state_.config);
  directory_.begin_history(checkpoint::columns(metric_of(roster_)), state_.history);
}

void Coordinator::resume() {
  const auto note = [&](const std::string& text) {
    if (observer_.note) observer_.note(text);
  };
  const std::string& from = config_.run.resume;
  const std::vector<std::string> present = directory_.checkpoints();
  if (from == "no") {
    if (present.empty()) return;
    fail(ExitCode::cannot_create,
         "run.dir: {} already holds a run; choose another directory, or --run.resume auto to go on", config_.run.dir);
  }
  if (from == "auto") {
    if (auto newest = directory_.newest(note)) restore(std::move(*newest));
  } else {
    restore(checkpoint::read(from));
    if (!present.empty() && checkpoint::round_of(present.back()) > state_.round)
      fail(ExitCode::cannot_create,
           "run.dir: {} holds checkpoints later than round {}; choose another directory to go on from {}",
           config_.run.dir, state_.round, from);
  }
  if (closed_) note(fmt::format("going on after round {}", state_.round));
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
  if (before.parameters.size() != state_.parameters.size())
    fail(ExitCode::usage, "run.resume: expected a model of {} parameters, found {} in the checkpoint",
         state_.parameters.size(), before.parameters.size());
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
  state_.parameters = std::move(before.parameters);
  state_.history = std::move(before.history);
  closed_ = true;
}

bool Coordinator::due(std::int64_t every) const {
  return every > 0 && state_.round % static_cast<std::uint64_t>(every) == 0;
}

bool Coordinator::evaluation_due() const {
  const bool measurable = roster_.test_rows > 0 || config_.eval.clients;
  return measurable && !closed_ && (stopping() || due(config_.eval.every));
}

bool Coordinator::checkpoint_due() const {
  return !closed_ && (stopping() || (state_.round > 0 && due(config_.run.checkpoint_every)));
}

void Coordinator::open() {
  std::vector<checkpoint::Row>& history = state_.history;
  if (!closed_) history.push_back(row_);  // as far as it is known
  stop_ = stop_by_history(config_, roster_.schema.task, history);
  if (!stop_) stop_ = stop_by_signal();
  if (!stop_) {
    const double elapsed = std::chrono::duration<double>(std::chrono::steady_clock::now() - start_).count();
    stop_ = clock_.stop(elapsed);
  }
}

void Coordinator::close() {
  row_.seconds = round_watch_.lap();
  clock_.record(row_.seconds);
  state_.history.back() = row_;
  directory_.append_history(row_);
  if (observer_.row) observer_.row(row_, metric_of(roster_));
  if (const auto stop = stop_by_history(config_, roster_.schema.task, state_.history)) stop_ = stop;
  const bool save_now = checkpoint_due();
  closed_ = true;
  row_ = {};
  if (save_now) save();
}

void Coordinator::save() {
  state_.server.clear();
  for (const server::State& s : optimizer_->state()) state_.server.emplace_back(s.name, *s.values);
  saved_as_ = directory_.save(state_);
  state_.server.clear();
  row_.seconds_checkpoint += watch_.lap();
}

void Coordinator::step(const RoundResult& result, std::size_t bytes_up, std::size_t bytes_down) {
  watch_.lap();
  const Tally& tally = result.tally;
  row_.train_loss =
      tally.examples > 0 ? tally.loss.value() / static_cast<double>(tally.examples) : checkpoint::kUnknown;
  row_.update_norm = norm(update_);
  row_.clients = tally.clients;
  row_.examples = tally.examples;
  row_.dropped = tally.bad;
  row_.bytes_up = bytes_up;
  row_.bytes_down = bytes_down;
  row_.seconds_train = result.seconds_train;
  row_.seconds_exchange = result.seconds_exchange;
  state_.exponent = result.next_exponent;
  optimizer_->step(++state_.round, update_, state_.parameters);
  row_.round = state_.round;
  closed_ = false;
  row_.seconds_server = watch_.lap();
}

}  // namespace fedmpi::federation
