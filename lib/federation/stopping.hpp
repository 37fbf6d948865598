// When a run ends.
#pragma once

#include <cstdint>
#include <limits>
#include <optional>
#include <span>
#include <string>

#include "checkpoint/history.hpp"
#include "data/schema.hpp"
#include "federation/config.hpp"

namespace fedmpi::federation {

// Why a run ends, as a sentence, and whether it is complete (exit 0) or waits to be resumed (exit 75).
struct Stop {
  std::string reason;
  bool complete = true;
};

// What the rounds say. A function of the options and the history alone, so that a resumed run stops where the
// undisturbed one would have; the last row is the round just ended, evaluated or not.
std::optional<Stop> stop_by_history(const Config& config, data::Task task, std::span<const checkpoint::Row> history);

// Whether the data can have such a target: accuracies end at 1. Error(usage).
void check_target(const StopOptions& options, data::Task task);

// Seconds from `now`, the start of the run, until it must have ended: stop.minutes, or where that is nearer the end of
// the Slurm job (SLURM_JOB_END_TIME, seconds since 1970) less what it takes to leave in good order. Clock::kNever = no
// limit.
double seconds_allowed(const StopOptions& options, std::int64_t now);

// The wall clock: stops while two more rounds and checkpoints, each as long as the longest so far, still fit before
// the limit, though not before the first round, or a run that is queued again and again might never go on.
class Clock {
 public:
  explicit Clock(double seconds) : limit_(seconds) {}
  // A round of this run. Of the rounds before a resume, in their order, only the time that the newest checkpoint took
  // is taken to hold here.
  void record(const checkpoint::Row& row);
  void record_earlier(const checkpoint::Row& row);
  // Whether a checkpoint should be written now, since there is a limit and nobody knows how long one takes.
  bool wants_checkpoint() const { return limit_ < kNever && checkpoint_ == 0.0; }
  std::optional<Stop> stop(double elapsed_seconds) const;

  static constexpr double kNever = std::numeric_limits<double>::infinity();

 private:
  double limit_, round_ = 0.0, checkpoint_ = 0.0;
};

// SIGUSR1, by which batch systems announce the end: noted, and acted on at the end of the round. May be called early,
// and again.
void catch_preemption();
std::optional<Stop> stop_by_signal();

}  // namespace fedmpi::federation
