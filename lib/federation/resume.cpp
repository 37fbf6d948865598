// How rank 0 finds the state to start from.
#include <fmt/format.h>

#include <algorithm>
#include <filesystem>

#include "federation/coordinator.hpp"

namespace fedmpi::federation {

namespace fs = std::filesystem;

void Coordinator::resume() {
  const std::string& from = config_.run.resume;
  const std::vector<std::string> present = directory_.checkpoints();
  if (from == "no") {
    if (present.empty()) return;
    fail(ExitCode::cannot_create,
         "run.dir: {} already holds a run; choose another directory, or --run.resume auto to continue it",
         config_.run.dir);
  }
  // A job that is queued again is told the file that it first started from: what it has made since then is its own.
  const auto is_own = [&](const checkpoint::Checkpoint& newest) {
    return from == "auto" || Config::from_ini(newest.config, "the checkpoint's configuration").run.resume == from;
  };
  auto newest = directory_.newest([&](const std::string& text) { note(text); });
  if (newest && is_own(*newest)) {
    beginning_.directory = config_.run.dir;
    restore(std::move(*newest));
    saved_round_ = facts_.round;
  } else if (from != "auto") {
    std::error_code error;
    if (!fs::exists(from, error))
      fail(ExitCode::bad_data, "run.resume: expected auto, no, or a checkpoint, found no file '{}'{}", from,
           error ? ": " + error.message() : "");
    newest.reset();
    checkpoint::Checkpoint before = checkpoint::read(from);
    if (!present.empty() && checkpoint::round_of(present.back()) > before.round)
      fail(ExitCode::cannot_create,
           "run.dir: {} holds checkpoints later than round {}; choose another directory to continue from {}",
           config_.run.dir, before.round, from);
    beginning_.directory = fs::canonical(from).parent_path().string();
    restore(std::move(before));
  }
  if (!facts_.history.empty() || facts_.round > 0) {
    const bool rounds_left = facts_.round < static_cast<std::uint64_t>(config_.federation.rounds);
    note(rounds_left ? fmt::format("continuing after round {}", facts_.round)
                     : fmt::format("round {} is done already", facts_.round));
  }
}

void Coordinator::restore(checkpoint::Checkpoint before) {
  const Config then = Config::from_ini(before.config, "the checkpoint's configuration");
  const std::vector<std::string> differing = conflicts(then, config_);
  if (!differing.empty())
    fail(ExitCode::usage,
         "run.resume: the checkpoint of round {} is of another configuration: {}; name in run.allow what may differ",
         before.round, fmt::join(differing, "; "));
  if (before.roster != facts_.roster)
    fail(ExitCode::bad_data,
         "run.resume: expected the data of the checkpoint ({} clients, {} examples), found other contents ({} clients, "
         "{} examples)",
         before.clients, before.examples, facts_.clients, facts_.examples);
  if (before.frozen != facts_.frozen)
    fail(ExitCode::usage, "run.resume: expected the frozen weights of the checkpoint of round {}, found others",
         before.round);
  if (before.layout != facts_.layout) {
    const auto [ours, theirs] = std::ranges::mismatch(facts_.layout.tensors(), before.layout.tensors());
    const auto text = [](const auto& at, const auto& end) {
      return at == end ? "none" : fmt::format("{} of {}", at->path(), fmt::join(at->shape, " × "));
    };
    fail(ExitCode::usage, "run.resume: expected the tensor {} in the checkpoint of round {}, found {}",
         text(ours, facts_.layout.tensors().end()), before.round, text(theirs, before.layout.tensors().end()));
  }
  for (const server::State& s : optimizer_->state())
    restore("server/" + s.name, *s.values, before, then.server.optimizer == config_.server.optimizer);
  for (std::size_t i = 0; i < down_.tensors().size(); ++i)
    restore("algorithm/" + down_.tensors()[i].path(), down_.part(global_.down, i), before,
            then.client.algorithm == config_.client.algorithm);
  // Of another method's message the scales say nothing.
  if (before.exponents.size() == message_.tensors().size())
    std::copy(before.exponents.begin(), before.exponents.end(), scale_.exponents.begin());
  for (std::size_t i = 0; i < message_.tensors().size(); ++i)
    if (const auto fixed = message_.tensors()[i].options.exponent) scale_.exponents[i] = *fixed;
  std::copy(before.parameters.begin(), before.parameters.end(), global_.model.begin());
  facts_.round = before.round;
  facts_.client_states = before.client_states;
  facts_.history = std::move(before.history);
  facts_.events = std::move(before.events);
  for (const checkpoint::Row& row : facts_.history) clock_.record_earlier(row);
  beginning_.round = facts_.round;
  beginning_.states = facts_.client_states;
  closed_ = true;
}

// A vector that the optimizer or the method goes on with.
void Coordinator::restore(const std::string& name, std::span<float> values, checkpoint::Checkpoint& before,
                          bool required) const {
  const auto saved = std::ranges::find_if(
      before.states, [&](const auto& s) { return s.first == name && s.second.size() == values.size(); });
  if (saved != before.states.end())
    std::copy(saved->second.begin(), saved->second.end(), values.begin());
  else if (required)
    fail(ExitCode::bad_data, "run.resume: expected the state '{}' of {} numbers, found none in the checkpoint", name,
         values.size());
}

}  // namespace fedmpi::federation
