#include "secure/scale.hpp"

#include <algorithm>
#include <cmath>
#include <limits>

#include "base/error.hpp"
#include "base/magnitude.hpp"
#include "secure/ring.hpp"

namespace fedmpi::secure {

namespace {

// With weights that add up to no more than 1 a sum is no larger than the largest value.
float largest_sum(float largest, double share) {
  return share <= 1 ? largest : static_cast<float>(share * static_cast<double>(largest));
}

// The least float that is no smaller than any |x|; infinity where none is large enough.
float largest_magnitude(std::span<const double> values) {
  double largest = 0.0;
  for (const double x : values) {
    if (!std::isfinite(x)) return static_cast<float>(x);
    largest = std::max(largest, std::abs(x));
  }
  const float rounded = static_cast<float>(largest);
  return double{rounded} >= largest ? rounded : std::nextafter(rounded, std::numeric_limits<float>::infinity());
}

}  // namespace

Scale first_scale(const Layout& message) {
  if (message.tensors().size() > kMostParts)
    fail(ExitCode::bug, "a message of {} tensors, where {} are the most", message.tensors().size(), kMostParts);
  Scale scale;
  for (std::size_t i = 0; i < message.tensors().size(); ++i)
    scale.exponents[i] = message.tensors()[i].options.exponent.value_or(kFirstExponent);
  return scale;
}

Largest largest_of(const Layout& message, std::span<const float> values) {
  Largest largest{};
  for (std::size_t i = 0; i < message.tensors().size(); ++i) {
    const std::span<const float> part = message.part(values, i);
    largest[i] = message.tensors()[i].options.type == Number::float64 ? largest_magnitude(as_doubles(part))
                                                                      : fedmpi::largest_magnitude(part);
  }
  return largest;
}

void take_larger(Largest& into, const Largest& from) {
  for (std::size_t i = 0; i < into.size(); ++i) into[i] = std::max(into[i], from[i]);
}

bool all_finite(const Largest& largest) { return fedmpi::all_finite(std::span<const float>(largest)); }

bool fits(const Layout& message, const Largest& largest, double share, const Scale& scale) {
  for (std::size_t i = 0; i < message.tensors().size(); ++i) {
    const float sum = largest_sum(largest[i], share);
    const int exponent = scale.exponents[i];
    if (message.tensors()[i].options.exponent ? overflows(sum, exponent) : !fits(sum, exponent)) return false;
  }
  return true;
}

bool overflows(const Largest& largest, const Scale& scale) {
  for (std::size_t i = 0; i < largest.size(); ++i)
    if (largest[i] > 0 && overflows(largest[i], scale.exponents[i])) return true;
  return false;
}

Scale scale_for(const Layout& message, const Largest& largest, double share, const Scale& before) {
  Scale scale = before;
  for (std::size_t i = 0; i < message.tensors().size(); ++i) {
    const Tensor& tensor = message.tensors()[i];
    const float sum = largest_sum(largest[i], share);
    if (tensor.options.exponent) {
      if (overflows(sum, *tensor.options.exponent))
        fail(ExitCode::bug, "{}: expected values that fit the exponent {}, found {}", tensor.path(),
             *tensor.options.exponent, sum);
    } else if (sum > 0) {
      scale.exponents[i] = exponent_for(sum);
    }
  }
  return scale;
}

}  // namespace fedmpi::secure
