#include "base/exact_sum.hpp"

#include <cmath>
#include <limits>

namespace fedmpi {

void ExactSum::add(double x) {
  if (!std::isfinite(x) || std::abs(x) >= 0x1p295) {
    ++not_finite_;
    return;
  }
  // From the top digit down, take the whole part and leave the rest; every step is exact in a double.
  for (int d = kDigits; d-- > 0;) {
    const double unit = std::ldexp(1.0, kLowestBit + 32 * d);
    const double digit = std::trunc(x / unit);
    digits_[static_cast<std::size_t>(d)] += static_cast<std::int64_t>(digit);
    x -= digit * unit;
  }
}

void ExactSum::add(const ExactSum& other) {
  for (std::size_t d = 0; d < digits_.size(); ++d) digits_[d] += other.digits_[d];
  not_finite_ += other.not_finite_;
}

double ExactSum::value() const {
  if (not_finite_ != 0) return std::numeric_limits<double>::quiet_NaN();
  // Carry first, so that equal sums have equal digits whatever the order of their terms.
  std::array<std::int64_t, kDigits> d = digits_;
  for (std::size_t i = 0; i + 1 < d.size(); ++i) {
    const std::int64_t carry = d[i] >> 32;
    d[i] -= carry << 32;
    d[i + 1] += carry;
  }
  double sum = 0.0;
  for (std::size_t i = d.size(); i-- > 0;)
    sum += std::ldexp(static_cast<double>(d[i]), kLowestBit + 32 * static_cast<int>(i));
  return sum;
}

}  // namespace fedmpi
