#include "base/random.hpp"

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <map>
#include <numeric>
#include <vector>

namespace fedmpi {
namespace {

using Block = std::array<std::uint32_t, 4>;
using Key = std::array<std::uint32_t, 2>;

// philox4x32, 10 rounds, of the file kat_vectors in the Random123 distribution.
TEST(Philox, GivesThePublishedAnswers) {
  EXPECT_EQ(philox(Block{0, 0, 0, 0}, Key{0, 0}), (Block{0x6627e8d5, 0xe169c58d, 0xbc57ac4c, 0x9b00dbd8}));
  EXPECT_EQ(philox(Block{0xffffffff, 0xffffffff, 0xffffffff, 0xffffffff}, Key{0xffffffff, 0xffffffff}),
            (Block{0x408f276d, 0x41c83b0e, 0xa20bc7c6, 0x6d5451fd}));
  EXPECT_EQ(philox(Block{0x243f6a88, 0x85a308d3, 0x13198a2e, 0x03707344}, Key{0xa4093822, 0x299f31d0}),
            (Block{0xd16cfe09, 0x94fdcceb, 0x5001e420, 0x24126ea1}));
}

std::vector<std::uint32_t> first_bits(Stream stream, std::size_t n = 5) {
  std::vector<std::uint32_t> bits(n);
  for (auto& b : bits) b = stream.bits();
  return bits;
}

// Computed apart from this program; runs that were made with it depend on these bits.
TEST(Stream, KeepsItsBits) {
  EXPECT_EQ(first_bits(Stream(1, Purpose::initialise)),
            (std::vector<std::uint32_t>{0x6d9154ef, 0x43978d95, 0x1a82019f, 0x1c21e191, 0xf4d27a94}));
  EXPECT_EQ(first_bits(Stream(42, Purpose::order, 7, std::uint64_t{5} << 32 | 9)),
            (std::vector<std::uint32_t>{0x17b661a2, 0x208ff028, 0x97753e62, 0x2101de20, 0x8a660ca1}));
}

TEST(Stream, DiffersInEveryArgument) {
  const auto bits = first_bits(Stream(1, Purpose::order, 2, 3));
  EXPECT_EQ(first_bits(Stream(1, Purpose::order, 2, 3)), bits);
  EXPECT_NE(first_bits(Stream(2, Purpose::order, 2, 3)), bits);
  EXPECT_NE(first_bits(Stream(1, Purpose::cohort, 2, 3)), bits);
  EXPECT_NE(first_bits(Stream(1, Purpose::order, 3, 3)), bits);
  EXPECT_NE(first_bits(Stream(1, Purpose::order, 2, 4)), bits);
  EXPECT_NE(first_bits(Stream(1, Purpose::order, 2, 3 + (std::uint64_t{1} << 32))), bits);
}

TEST(Stream, DoesNotRepeatItsBlocks) {
  auto bits = first_bits(Stream(1, Purpose::order), 10000);
  std::sort(bits.begin(), bits.end());
  // 10,000 draws of 32 bits have 0.01 equal pairs in the mean.
  EXPECT_LE(bits.end() - std::unique(bits.begin(), bits.end()), 2);
}

// Sample moments lie within 5 standard errors.
struct Moments {
  double mean = 0, variance = 0, third = 0, fourth = 0;  // central, from the second on
};

template <class Draw>
Moments moments(Draw&& draw, std::size_t n = 200000) {
  std::vector<double> x(n);
  for (double& v : x) v = draw();
  Moments m;
  for (const double v : x) m.mean += v / static_cast<double>(n);
  for (const double v : x) {
    const double d = v - m.mean;
    m.variance += d * d / static_cast<double>(n);
    m.third += d * d * d / static_cast<double>(n);
    m.fourth += d * d * d * d / static_cast<double>(n);
  }
  return m;
}

TEST(Stream, UniformFillsTheUnitInterval) {
  Stream stream(1, Purpose::generate);
  double smallest = 1, largest = 0;
  const Moments m = moments([&] {
    const double u = stream.uniform();
    smallest = std::min(smallest, u);
    largest = std::max(largest, u);
    return u;
  });
  EXPECT_GE(smallest, 0.0);
  EXPECT_LT(smallest, 1e-4);
  EXPECT_LT(largest, 1.0);
  EXPECT_GT(largest, 1 - 1e-4);
  EXPECT_NEAR(m.mean, 0.5, 0.0033);
  EXPECT_NEAR(m.variance, 1.0 / 12, 0.0009);
}

TEST(Stream, NormalHasItsMoments) {
  Stream stream(1, Purpose::generate);
  const Moments m = moments([&] { return stream.normal(); });
  EXPECT_NEAR(m.mean, 0, 0.0112);
  EXPECT_NEAR(m.variance, 1, 0.016);
  EXPECT_NEAR(m.third, 0, 0.044);
  EXPECT_NEAR(m.fourth, 3, 0.11);
}

TEST(Stream, GammaHasItsMoments) {
  for (const double shape : {0.1, 0.5, 1.0, 7.5}) {
    Stream stream(1, Purpose::generate);
    const Moments m = moments([&] { return stream.gamma(shape); });
    EXPECT_NEAR(m.mean, shape, 5 * std::sqrt(shape / 200000)) << shape;
    const double variance_error = std::sqrt((2 * shape * shape + 6 * shape) / 200000);
    EXPECT_NEAR(m.variance, shape, 5 * variance_error) << shape;
  }
}

TEST(Stream, DirichletHasItsMoments) {
  constexpr std::size_t kDraws = 50000;
  const std::vector<double> concentration = {0.2, 1, 3};
  const double total = std::accumulate(concentration.begin(), concentration.end(), 0.0);
  std::vector<double> sum(3), square(3);
  Stream stream(1, Purpose::partition);
  for (std::size_t i = 0; i < kDraws; ++i) {
    std::vector<double> mixture = concentration;
    stream.dirichlet(mixture);
    EXPECT_NEAR(std::accumulate(mixture.begin(), mixture.end(), 0.0), 1, 1e-12);
    for (std::size_t k = 0; k < 3; ++k) {
      sum[k] += mixture[k] / kDraws;
      square[k] += mixture[k] * mixture[k] / kDraws;
    }
  }
  for (std::size_t k = 0; k < 3; ++k) {
    const double mean = concentration[k] / total, variance = mean * (1 - mean) / (total + 1);
    EXPECT_NEAR(sum[k], mean, 5 * std::sqrt(variance / kDraws)) << k;
    EXPECT_NEAR(square[k] - sum[k] * sum[k], variance, 0.05 * variance) << k;
  }
}

TEST(Stream, DirichletOfTinyConcentrationsPicksOneComponent) {
  Stream stream(1, Purpose::partition);
  std::vector<int> picked(4);
  for (int i = 0; i < 1000; ++i) {
    std::vector<double> mixture(4, 1e-300);
    stream.dirichlet(mixture);
    const auto one = std::find(mixture.begin(), mixture.end(), 1.0);
    ASSERT_NE(one, mixture.end());
    EXPECT_EQ(std::count(mixture.begin(), mixture.end(), 0.0), 3);
    ++picked[static_cast<std::size_t>(one - mixture.begin())];
  }
  for (const int n : picked) EXPECT_NEAR(n, 250, 70);
}

// Pearson's statistic of counts that should be equal.
double chi_squared(const std::vector<int>& counts) {
  const double expected = std::accumulate(counts.begin(), counts.end(), 0.0) / static_cast<double>(counts.size());
  double sum = 0;
  for (const int n : counts) sum += (n - expected) * (n - expected) / expected;
  return sum;
}

TEST(Stream, BelowReachesEveryValueAlike) {
  for (const std::uint64_t n : {1u, 2u, 3u, 10u, 1000u}) {
    Stream stream(1, Purpose::generate);
    std::vector<int> counts(n);
    for (std::uint64_t i = 0; i < 1000 * n; ++i) {
      const std::uint64_t value = stream.below(n);
      ASSERT_LT(value, n);
      ++counts[value];
    }
    const double freedom = static_cast<double>(n - 1);
    EXPECT_LE(chi_squared(counts), freedom + 5 * std::sqrt(2 * freedom)) << n;
  }
}

// Where the generator's range is 4/3 of n, one value in three would come twice as often without rejection:
// the values divisible by 3 if a product is cut, the lowest third if a remainder is taken.
TEST(Stream, BelowRejectsWhatWouldBias) {
  for (const std::uint64_t n : {std::uint64_t{3} << 30, std::uint64_t{3} << 62}) {
    Stream stream(1, Purpose::generate);
    std::vector<int> residues(3), thirds(3);
    for (int i = 0; i < 100000; ++i) {
      const std::uint64_t value = stream.below(n);
      ASSERT_LT(value, n);
      ++residues[value % 3];
      ++thirds[value / (n / 3)];
    }
    EXPECT_LE(chi_squared(residues), 20) << n;
    EXPECT_LE(chi_squared(thirds), 20) << n;
  }
}

TEST(Stream, ShuffleReachesEveryOrderAlike) {
  Stream stream(1, Purpose::order);
  std::map<std::array<int, 3>, int> orders;
  for (int i = 0; i < 60000; ++i) {
    std::array<int, 3> items = {0, 1, 2};
    stream.shuffle(std::span<int>(items));
    ++orders[items];
  }
  std::vector<int> counts;
  for (const auto& [order, n] : orders) counts.push_back(n);
  ASSERT_EQ(counts.size(), 6u);
  EXPECT_LE(chi_squared(counts), 25);
}

}  // namespace
}  // namespace fedmpi
