// Coordinate-wise median: Yin, Chen, Ramchandran and Bartlett 2018, "Byzantine-Robust Distributed Learning:
// Towards Optimal Statistical Rates", definition 1. Of an even number, the mean of the two in the middle.
#include <algorithm>
#include <vector>

#include "aggregate/aggregator.hpp"

namespace fedmpi::aggregate {

void median(MatrixView updates, std::span<float> result) {
  const std::size_t n = static_cast<std::size_t>(updates.cols());
  std::vector<float> values(n);
  for (std::size_t j = 0; j < result.size(); ++j) {
    for (std::size_t i = 0; i < n; ++i) values[i] = updates(static_cast<Eigen::Index>(j), static_cast<Eigen::Index>(i));
    const auto middle = values.begin() + static_cast<std::ptrdiff_t>(n / 2);
    std::nth_element(values.begin(), middle, values.end());
    // Of equal values it does not matter which; of zeros only the sign could tell, and + 0 takes it away.
    result[j] = 0.0F + (n % 2 == 1 ? *middle : 0.5F * *std::max_element(values.begin(), middle) + 0.5F * *middle);
  }
}

}  // namespace fedmpi::aggregate
