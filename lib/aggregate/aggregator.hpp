// How the updates of a cohort become one.
#pragma once

#include <cstdint>
#include <span>
#include <string>

#include "base/layout.hpp"

namespace fedmpi::aggregate {

struct Options {
  std::string kind = "mean";
  std::string weights = "examples";    // examples: in proportion to the client's examples; equal
  std::string denominator = "cohort";  // of the mean: the weight of those who came, or expected: of a cohort on average
};

// What rank 0 gets to see.
enum class Need {
  exact_sum,   // the weighted sum alone, with the same bits for any number of ranks
  float_sum,   // the weighted sum alone, added up as float32 in MPI's order: half the bytes, bits may differ
  individual,  // every update, a block of coordinates at a time
};

// One row and, for those that need individual updates, one file each: see lib/README.md.
struct Kind {
  const char* name;
  const char* summary;
  const char* reads;  // options: see Choice in base/options.hpp
  Need need;
  // individual: updates is coordinates × clients, result one number per coordinate. Does not depend on the
  // order of the clients. May reorder what it was given.
  void (*combine)(MatrixView updates, std::span<float> result);
};
std::span<const Kind> kinds();
const Kind& kind(const Options& options);  // Error(usage)

// A client's weight before normalisation; 0 for a client without examples.
std::uint64_t weight(const Options& options, std::uint64_t examples);

void median(MatrixView updates, std::span<float> result);

}  // namespace fedmpi::aggregate
