// Sums and products of sizes that are only compared with what there is.
#pragma once

#include <cstdint>

namespace fedmpi {

// A number of bytes that stays at the largest value where it would wrap around.
struct Saturated {
  std::uint64_t value = 0;

  Saturated() = default;
  Saturated(std::uint64_t v) : value(v) {}

  friend Saturated operator+(Saturated a, Saturated b) {
    return __builtin_add_overflow(a.value, b.value, &a.value) ? UINT64_MAX : a;
  }
  friend Saturated operator*(Saturated a, Saturated b) {
    return __builtin_mul_overflow(a.value, b.value, &a.value) ? UINT64_MAX : a;
  }
  Saturated& operator+=(Saturated other) { return *this = *this + other; }
};

}  // namespace fedmpi
