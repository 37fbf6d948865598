// Linear regression with a known solution: x ~ N(0, I), y = W x + b + noise · N(0, I); W and b ~ N(0, 1).
#pragma once

#include <cstdint>

#include "data/source.hpp"

namespace fedmpi::data {

struct LinearOptions {
  std::size_t features = 20, examples = 5000, targets = 1;
  double noise = 0.1;
  std::uint64_t seed = 0;
};

// The solution, W and b as CSV: "feature,target_0,…", a row per feature and a last one called bias.
Input make_linear(const LinearOptions& options);

}  // namespace fedmpi::data
