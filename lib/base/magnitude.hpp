// The largest magnitude of many floats, in a form that also shows NaN and infinity.
#pragma once

#include <algorithm>
#include <bit>
#include <cmath>
#include <cstdint>
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

}  // namespace fedmpi
