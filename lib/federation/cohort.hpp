// Which clients take part in a round.
#pragma once

#include <cstdint>
#include <span>
#include <vector>

#include "base/random.hpp"
#include "data/dataset.hpp"
#include "federation/config.hpp"

namespace fedmpi::federation {

struct Sampling {
  const char* name;
  const char* summary;
  // Distinct clients of 0 … clients-1, `expected` of them exactly or on average; takes time and memory
  // O(expected).
  void (*draw)(std::uint64_t clients, double expected, Stream& stream, std::vector<data::ClientId>& cohort);
};
std::span<const Sampling> samplings();

// The cohort of a round, in ascending order; a function of its arguments, so every rank draws the same.
// `expected` is at most `clients`.
void draw_cohort(const Sampling& sampling, std::uint64_t clients, double expected, std::uint64_t seed,
                 std::uint64_t round, std::vector<data::ClientId>& cohort);

// How many of so many clients take part in a round, on average.
double expected_cohort(const FederationOptions& options, std::uint64_t clients);

}  // namespace fedmpi::federation
