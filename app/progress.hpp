// What the user sees of a run.
#pragma once

#include <span>
#include <string>

#include "checkpoint/history.hpp"

namespace fedmpi::app {

// One line per evaluated round, and for the others one every few seconds, without control characters.
void print_round(const checkpoint::Row& row, const std::string& metric);

// The test metric over the rounds as a small chart of characters; empty with fewer than two evaluations.
std::string chart(std::span<const checkpoint::Row> history, const std::string& metric);

// Where the time of the run went.
std::string time_summary(std::span<const checkpoint::Row> history);

}  // namespace fedmpi::app
