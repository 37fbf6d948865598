// What rank 0 does alone: it keeps the model and the history, steps the server optimizer, saves, and decides
// when the run ends.
#pragma once

#include <chrono>
#include <memory>
#include <optional>
#include <string>
#include <utility>

#include "checkpoint/run_directory.hpp"
#include "federation/config.hpp"
#include "federation/evaluation.hpp"
#include "federation/observer.hpp"
#include "federation/roster.hpp"
#include "federation/round.hpp"
#include "federation/stopping.hpp"
#include "model/model.hpp"
#include "server/optimizer.hpp"

namespace fedmpi::federation {

// Seconds since the last lap.
class Stopwatch {
 public:
  double lap() {
    const auto now = std::chrono::steady_clock::now();
    return std::chrono::duration<double>(now - std::exchange(last_, now)).count();
  }

 private:
  std::chrono::steady_clock::time_point last_ = std::chrono::steady_clock::now();
};

class Coordinator {
 public:
  // Checks the run directory and finds the state to start from, fresh or of a checkpoint. Errors are of this rank
  // alone.
  Coordinator(const Config& config, const Roster& roster, const model::Model& model, const Observer& observer);

  // Writes config.ini and begins history.csv; until then no file of the run directory has changed.
  void begin();

  std::span<float> parameters() { return state_.parameters; }
  std::uint64_t round() const { return state_.round; }  // rounds that the parameters have seen
  int exponent() const { return state_.exponent; }
  bool stopping() const { return stop_.has_value(); }
  bool evaluation_due() const;
  bool checkpoint_due() const;

  // A round goes: open(), laps of `row()`'s parts, close(), step(). open() looks for reasons to stop that are
  // known before the evaluation; close() files the row, looks again, and saves when due. A round that a
  // checkpoint brought back is closed already.
  void open();
  bool closed() const { return closed_; }
  void close();
  void step(const RoundResult& result, std::size_t bytes_up, std::size_t bytes_down);

  std::span<float> update() { return update_; }
  checkpoint::Row& row() { return row_; }  // of the round in hand
  Stopwatch& watch() { return watch_; }
  const std::optional<Stop>& stop() const { return stop_; }
  const checkpoint::Checkpoint& state() const { return state_; }
  const std::string& saved_as() const { return saved_as_; }

 private:
  void resume();
  void restore(checkpoint::Checkpoint before);
  void save();
  bool due(std::int64_t every) const;

  const Config& config_;
  const Roster& roster_;
  const Observer& observer_;
  checkpoint::RunDirectory directory_;
  std::unique_ptr<server::Optimizer> optimizer_;
  checkpoint::Checkpoint state_;
  Vector update_;
  checkpoint::Row row_;
  bool closed_ = false;
  std::optional<Stop> stop_;
  Clock clock_;
  Stopwatch watch_, round_watch_;
  std::chrono::steady_clock::time_point start_ = std::chrono::steady_clock::now();
  std::string saved_as_;
};

}  // namespace fedmpi::federation
