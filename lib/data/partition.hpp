// Which client gets which example: a pure function of labels, natural clients, options and seed.
#pragma once

#include <cstdint>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "data/import/census.hpp"

namespace fedmpi::data {

struct PartitionOptions {
  std::string partition;    // a kind of partition_kinds(); empty = natural where there are natural clients, else iid
  std::size_t clients = 0;  // 0 = as many as there are natural clients
  double skew = 0.0;        // of the clients' sizes: proportions ~ Dirichlet(skew), up to 10^6; 0 = equal sizes
  double holdout = 0.0;     // fraction of the examples that no client gets, 0 … 1; above 0 it holds out one at least
  std::uint64_t seed = 0;
};

struct PartitionKind {
  std::string_view name, usage, summary;
};
std::span<const PartitionKind> partition_kinds();

struct Assignment {
  std::vector<std::uint32_t> client;  // of each example; clients() for what is held out
  std::vector<std::string> names;     // of the clients
  std::size_t held_out = 0;           // examples
  // Natural clients that are left out: those without examples in the input, and those whose examples are all held out.
  std::size_t empty = 0, lost = 0;

  std::size_t clients() const { return names.size(); }
};

// Every client gets at least one example. `natural_names` are the source's. Error(usage) for options that do
// not fit the input, such as more clients than examples.
Assignment assign(const Census& census, const std::vector<std::string>& natural_names, const PartitionOptions& options);

}  // namespace fedmpi::data
