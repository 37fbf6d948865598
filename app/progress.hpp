// What the user sees of a run.
#pragma once

#include <chrono>
#include <cstddef>
#include <span>
#include <string>

#include "checkpoint/history.hpp"

namespace fedmpi::app {

// What would control a terminal made visible as '?': much that is printed quotes names from files.
std::string printable(std::string text);

// Of the descriptors 0 to 2 opens those that are closed, or the next file or socket would take their place. They are
// opened in the wrong direction: a write to standard output fails as if it were closed.
void fill_standard_descriptors();

// A loss or metric with at least three significant digits: "0.6931", "1.2e-05".
std::string short_text(double number);

// Writes as much of it as can be written: a log on a full disk does not end a run.
void to_stderr(const std::string& text);

// What has been printed on standard output so far; an Error(io) if it cannot be written.
void flush_output();

// `text` on stderr, printable, each line of it after "fedmpi: ".
void print_error(const std::string& text);

// Follows a run on stderr, and knows what this process spent its time on.
class Progress {
 public:
  void plan(const std::string& text);
  static void note(const std::string& text);
  // A line per round; on a terminal only for evaluated rounds, and for the others every few seconds.
  void round(const checkpoint::Row& row, const std::string& metric);
  std::string summary() const;  // of the time since this object was made

 private:
  using Clock = std::chrono::steady_clock;
  Clock::time_point start_ = Clock::now(), planned_ = start_, printed_, last_;
  std::size_t rounds_ = 0;
};

// The test metric over the rounds as a small chart of characters; empty with fewer than two evaluations.
std::string chart(std::span<const checkpoint::Row> history, const std::string& metric);

// Where the time of the run went, jobs before this one included.
std::string time_summary(std::span<const checkpoint::Row> history);

}  // namespace fedmpi::app
