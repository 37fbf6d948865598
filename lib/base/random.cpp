#include "base/random.hpp"

#include <cmath>
#include <numbers>

namespace fedmpi {

std::array<std::uint32_t, 4> philox(std::array<std::uint32_t, 4> c, std::array<std::uint32_t, 2> k) {
  for (int round = 0; round < 10; ++round) {
    const std::uint64_t p0 = std::uint64_t{0xD2511F53} * c[0];
    const std::uint64_t p1 = std::uint64_t{0xCD9E8D57} * c[2];
    c = {static_cast<std::uint32_t>(p1 >> 32) ^ c[1] ^ k[0], static_cast<std::uint32_t>(p1),
         static_cast<std::uint32_t>(p0 >> 32) ^ c[3] ^ k[1], static_cast<std::uint32_t>(p0)};
    k[0] += 0x9E3779B9;
    k[1] += 0xBB67AE85;
  }
  return c;
}

namespace {

// SplitMix64's finaliser: spreads seed and purpose over all bits of the key.
std::uint64_t mix(std::uint64_t x) {
  x += 0x9E3779B97F4A7C15u;
  x = (x ^ (x >> 30)) * 0xBF58476D1CE4E5B9u;
  x = (x ^ (x >> 27)) * 0x94D049BB133111EBu;
  return x ^ (x >> 31);
}

std::uint32_t low(std::uint64_t x) { return static_cast<std::uint32_t>(x); }
std::uint32_t high(std::uint64_t x) { return static_cast<std::uint32_t>(x >> 32); }

}  // namespace

Stream::Stream(std::uint64_t seed, Purpose purpose, std::uint64_t round, std::uint64_t client) {
  const std::uint64_t key = mix(mix(seed) ^ static_cast<std::uint64_t>(purpose));
  key_ = {low(key), high(key)};
  counter_ = {0, low(round), low(client), high(client)};
}

std::uint32_t Stream::bits() {
  if (used_ == 4) {
    block_ = philox(counter_, key_);
    ++counter_[0];
    used_ = 0;
  }
  return block_[used_++];
}

double Stream::uniform() {
  const std::uint64_t x = (std::uint64_t{bits()} << 32 | bits()) >> 11;
  return static_cast<double>(x) * 0x1p-53;
}

std::uint64_t Stream::below(std::uint64_t n) {
  // Lemire 2019: a multiplication instead of a division, rejecting the few values that would bias. One word
  // of randomness serves every n that fits one.
  const bool wide = n > 0xFFFFFFFFu;
  for (;;) {
    if (!wide) {
      const std::uint64_t product = std::uint64_t{bits()} * n;
      if (low(product) >= low(0u - low(n)) % low(n)) return product >> 32;
    } else {
      const std::uint64_t x = std::uint64_t{bits()} << 32 | bits();
      if (x <= UINT64_MAX - UINT64_MAX % n - 1) return x % n;
    }
  }
}

double Stream::normal() {
  const double radius = std::sqrt(-2.0 * std::log1p(-uniform()));
  return radius * std::cos(2.0 * std::numbers::pi * uniform());
}

double Stream::gamma(double shape) {
  if (shape < 1.0) {
    const double boost = std::pow(1.0 - uniform(), 1.0 / shape);
    return gamma(shape + 1.0) * boost;
  }
  const double d = shape - 1.0 / 3.0, c = 1.0 / std::sqrt(9.0 * d);
  for (;;) {
    const double x = normal(), t = 1.0 + c * x;
    if (t <= 0.0) continue;
    const double v = t * t * t;
    if (std::log1p(-uniform()) < 0.5 * x * x + d - d * v + d * std::log(v)) return d * v;
  }
}

void Stream::dirichlet(std::span<double> mixture) {
  double total = 0.0;
  for (double& m : mixture) total += m = gamma(m);
  // Every draw can underflow to zero for tiny concentrations; the limit puts all mass on one component.
  if (total == 0.0) mixture[below(mixture.size())] = total = 1.0;
  for (double& m : mixture) m /= total;
}

}  // namespace fedmpi
