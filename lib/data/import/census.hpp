// The first pass over an input: what has to be known of every example before any is placed.
#pragma once

#include <cstdint>
#include <functional>
#include <string>
#include <vector>

#include "data/source.hpp"

namespace fedmpi::data {

// Called now and then in long work: what it is, how many examples are done, and of how many (0 = not known
// yet).
using Progress = std::function<void(const char* what, std::size_t done, std::size_t total)>;

struct Census {
  std::size_t examples = 0;
  std::size_t classes = 0;             // one above the largest label; 0 for regression
  std::vector<std::int32_t> labels;    // of each example; empty for regression
  std::vector<std::uint32_t> clients;  // natural client of each example; empty where there are none
};

// Reads the source once, from its start. Error(bad_data) when it has no example, or more than 2^32 - 2; `name` is what
// the source is called then.
Census take_census(Source& source, const std::string& name, const Progress& progress);

}  // namespace fedmpi::data
