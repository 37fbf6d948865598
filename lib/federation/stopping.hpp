// When a run ends.
#pragma once

#include <algorithm>
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

// The wall clock: stops while twice the longest round so far still fits before the limit.
class Clock {
 public:
  explicit Clock(double minutes) : limit_(minutes * 60.0) {}
  void record(double round_seconds) { longest_ = std::max(longest_, round_seconds); }
  std::optional<Stop> stop(double elapsed_seconds) const;

 private:
  double limit_, longest_ = 0.0;
};

// SIGUSR1, by which batch systems announce the end: noted, and acted on at the end of the round.
void catch_preemption();
std::optional<Stop> stop_by_signal();

}  // namespace fedmpi::federation
