// The scales of a message in the exact sum: each tensor of its layout has an exponent of its own, since an update, a
// control variate and a count differ by many powers of ten. An exponent is fixed where the layout says so; else it
// follows the largest value seen.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <span>

#include "base/layout.hpp"

namespace fedmpi::secure {

inline constexpr std::size_t kMostParts = 8;  // tensors of a message

struct Scale {
  std::array<std::int32_t, kMostParts> exponents{};  // see ring.hpp
  bool operator==(const Scale&) const = default;
};

using Largest = std::array<float, kMostParts>;  // magnitude in each tensor; NaN or infinity if one is in it

// Error(bug) for more tensors than kMostParts.
Scale first_scale(const Layout& message);
Largest largest_of(const Layout& message, std::span<const float> values);
void take_larger(Largest& into, const Largest& from);
bool all_finite(const Largest& largest);

// Whether weighted sums of values of those magnitudes, whose weights add up to `share`, can be added with that scale:
// none overflows, and none loses more than the rounding of float32 unless its exponent is fixed.
bool fits(const Layout& message, const Largest& largest, double share, const Scale& scale);
bool overflows(const Largest& largest, const Scale& scale);
// The scale that suits them best; `before` where nothing but zeros was seen.
Scale scale_for(const Layout& message, const Largest& largest, double share, const Scale& before);

}  // namespace fedmpi::secure
