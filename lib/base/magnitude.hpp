// How large many floats are: their largest magnitude, in a form that also shows NaN and infinity, and their norm.
#pragma once

#include <algorithm>
#include <array>
#include <bit>
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <numeric>
#include <span>

namespace fedmpi {

// max |x|; NaN or infinity if any x is. Without its sign a float's bits compare like the number itself, with
// the infinities and NaNs on top, so one integer maximum answers both questions and vectorises.
inline float largest_magnitude(std::span<const float> values) {
  std::uint32_t largest = 0;
  for (const float x : values) largest = std::max(largest, std::bit_cast<std::uint32_t>(x) & 0x7FFFFFFFu);
  return std::bit_cast<float>(largest);
}

inline bool all_finite(std::span<const float> values) { return std::isfinite(largest_magnitude(values)); }

// ‖x‖₂, of the sums of eight interleaved parts: a single one would wait for each addition before the next.
inline double norm(std::span<const float> x) {
  std::array<double, 8> sums{};
  std::size_t j = 0;
  for (; j + sums.size() <= x.size(); j += sums.size())
    for (std::size_t k = 0; k < sums.size(); ++k) sums[k] += double{x[j + k]} * double{x[j + k]};
  for (; j < x.size(); ++j) sums[0] += double{x[j]} * double{x[j]};
  return std::sqrt(std::accumulate(sums.begin(), sums.end(), 0.0));
}

}  // namespace fedmpi
