// What rank 0 does alone: it keeps the model and the history, steps the server optimizer, saves, and decides
// when the run ends.
#pragma once

#include <chrono>
#include <memory>
#include <optional>
#include <string>
#include <utility>

#include "base/error.hpp"
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
  // Checks the run directory and finds the state to start from, fresh or of a checkpoint; puts the model into
  // `parameters`, where it stays. Errors are of this rank alone.
  // `started`: the moment from which the time allowed is counted.
  Coordinator(const Config& config, const Roster& roster, const model::Model& model, std::span<float> parameters,
              const Observer& observer, std::chrono::steady_clock::time_point started);

  // From here on the directory is this run's: sets damaged checkpoints aside, writes config.ini, saves the state that
  // was read from elsewhere, and begins history.csv. Until then no file of it has changed.
  void begin();

  std::uint64_t round() const { return state_.round; }  // rounds that the parameters have seen
  int exponent() const { return state_.exponent; }
  bool stopping() const { return stop_.has_value(); }
  bool evaluation_due() const;
  bool checkpoint_due() const;

  // A turn of the loop goes: open(), the next round's training with the evaluation of the model in hand at its side,
  // close(), step(). open() looks for reasons to stop that are known before the evaluation; close() files the row of
  // the model in hand, looks again, and saves when due; step() makes the next model. A round that a checkpoint brought
  // back is closed already.
  void open();
  bool closed() const { return closed_; }
  void close();
  void step(const Round& round, std::span<float> update, std::size_t bytes_up, std::size_t bytes_down);
  // Saves the model in hand although the round under way has failed, or notes that it cannot be saved. An evaluation
  // that was due is made after resuming.
  void rescue();
  // Tells the observer and keeps it with the history.
  void record(const std::string& event);

  checkpoint::Row& row() { return row_; }  // of the model in hand
  // Books the time since the last lap as a part of the turn's round: the one being trained or, when there is none, the
  // last.
  void lap(double checkpoint::Row::*part);
  const std::optional<Stop>& stop() const { return stop_; }
  const std::vector<checkpoint::Row>& history() const { return state_.history; }
  const std::string& saved_as() const { return saved_as_; }

 private:
  void resume();
  void restore(checkpoint::Checkpoint before);
  std::optional<Error> write_checkpoint();
  void save();
  void note(const std::string& text) const;
  bool due(std::int64_t every) const;
  bool evaluated(const checkpoint::Row& row) const;
  double elapsed() const;  // seconds since the start

  const Config& config_;
  const Roster& roster_;
  const Observer& observer_;
  checkpoint::RunDirectory directory_;
  std::unique_ptr<server::Optimizer> optimizer_;
  checkpoint::Checkpoint state_;  // without parameters of its own
  std::span<float> parameters_;
  checkpoint::Row row_, next_;  // of the model in hand, and of the round being trained
  bool closed_ = false;
  std::optional<Stop> stop_;
  std::optional<std::uint64_t> unsaved_since_;  // round of the first save that failed, until one succeeds
  std::chrono::steady_clock::time_point started_;
  Clock clock_;
  Stopwatch watch_, round_watch_;
  std::string saved_as_;
  std::uint64_t saved_round_ = 0;
};

}  // namespace fedmpi::federation
