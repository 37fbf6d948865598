// Derivatives by finite differences.
#pragma once

#include <functional>
#include <span>
#include <vector>

#include "base/vector.hpp"

namespace fedmpi::test {

// The derivative of f at x along `direction` by the five-point formula, whose error is O(h⁴): a step can be
// large enough for the rounding of float32 not to matter.
inline double derivative_along(const std::function<double(std::span<const float>)>& f, std::span<const float> x,
                               const std::vector<double>& direction) {
  constexpr double h = 0.03;
  const auto at = [&](double t) {
    Vector moved(x.begin(), x.end());
    for (std::size_t j = 0; j < x.size(); ++j) moved[j] += static_cast<float>(t * direction[j]);
    return f(moved);
  };
  return (8.0 * (at(h) - at(-h)) - (at(2 * h) - at(-2 * h))) / (12.0 * h);
}

}  // namespace fedmpi::test
