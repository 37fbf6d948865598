#include "secure/ring.hpp"

#include <cmath>

namespace fedmpi::secure {

int exponent_for(float largest) { return 50 - (std::ilogb(largest) + 1); }

bool overflows(float largest, int exponent) { return std::ldexp(static_cast<double>(largest), exponent) > 0x1p62; }

bool fits(float largest, int exponent) {
  if (largest == 0.0F) return true;
  return !overflows(largest, exponent) && std::ldexp(static_cast<double>(largest), exponent) >= 0x1p34;
}

void add_encoded(std::span<const float> values, double weight, int exponent, std::span<std::int64_t> sum) {
  const double factor = std::ldexp(weight, exponent);
  for (std::size_t j = 0; j < values.size(); ++j)
    sum[j] += static_cast<std::int64_t>(std::rint(static_cast<double>(values[j]) * factor));
}

void decode(std::span<const std::int64_t> sum, double factor, int exponent, std::span<float> values) {
  const double scale = std::ldexp(factor, -exponent);
  for (std::size_t j = 0; j < values.size(); ++j) values[j] = static_cast<float>(static_cast<double>(sum[j]) * scale);
}

}  // namespace fedmpi::secure
