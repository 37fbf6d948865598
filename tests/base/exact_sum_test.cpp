#include "base/exact_sum.hpp"

#include <gtest/gtest.h>

#include <algorithm>
#include <bit>
#include <cmath>
#include <limits>
#include <numeric>
#include <vector>

#include "base/random.hpp"

namespace fedmpi {
namespace {

double exact_sum(const std::vector<double>& terms) {
  ExactSum sum;
  for (const double x : terms) sum.add(x);
  return sum.value();
}

// Terms of both signs over the whole range of magnitudes.
std::vector<double> wild_terms(std::size_t n) {
  Stream stream(1, Purpose::generate);
  std::vector<double> terms(n);
  for (double& x : terms) x = std::ldexp(2 * stream.uniform() - 1, static_cast<int>(stream.below(220)) - 85);
  return terms;
}

TEST(ExactSum, IsZeroWhenEmpty) { EXPECT_EQ(ExactSum().value(), 0.0); }

TEST(ExactSum, KeepsWhatADoubleWouldLose) {
  EXPECT_EQ(exact_sum({1e30, 1, -1e30}), 1.0);
  EXPECT_EQ(exact_sum({0x1p294, 0x1p-88, -0x1p294}), 0x1p-88);
  EXPECT_EQ(exact_sum({-0x1.fffffffffffffp294, 0x1.fffffffffffffp294}), 0.0);
  EXPECT_EQ(exact_sum({-3.5}), -3.5);
  EXPECT_EQ(exact_sum({-0x1p-88}), -0x1p-88);
}

TEST(ExactSum, DropsWhatIsBelowItsLowestBit) {
  EXPECT_EQ(exact_sum({0x1p-89, std::numeric_limits<double>::denorm_min()}), 0.0);
}

TEST(ExactSum, HasTheSameBitsInAnyOrder) {
  std::vector<double> terms = wild_terms(1000);
  const double first = exact_sum(terms), first_naive = std::accumulate(terms.begin(), terms.end(), 0.0);
  Stream stream(2, Purpose::order);
  bool naive_differs = false;
  for (int i = 0; i < 20; ++i) {
    stream.shuffle(std::span<double>(terms));
    EXPECT_EQ(std::bit_cast<std::uint64_t>(exact_sum(terms)), std::bit_cast<std::uint64_t>(first));
    naive_differs |= std::accumulate(terms.begin(), terms.end(), 0.0) != first_naive;
  }
  EXPECT_TRUE(naive_differs) << "these terms show nothing";
}

TEST(ExactSum, HasTheSameBitsInAnyParts) {
  const std::vector<double> terms = wild_terms(1000);
  for (const std::size_t parts : {2u, 3u, 7u}) {
    std::vector<ExactSum> sums(parts);
    for (std::size_t i = 0; i < terms.size(); ++i) sums[i % parts].add(terms[i]);
    ExactSum total;
    for (const ExactSum& sum : sums) total.add(sum);
    EXPECT_EQ(std::bit_cast<std::uint64_t>(total.value()), std::bit_cast<std::uint64_t>(exact_sum(terms)));
  }
}

TEST(ExactSum, HoldsManyTermsOfFullDigits) {
  constexpr int kTerms = 1 << 20;
  ExactSum sum;
  for (int i = 0; i < kTerms; ++i) sum.add(0x1.fffffffffffffp30);
  EXPECT_EQ(sum.value(), 0x1.fffffffffffffp50);
  for (int i = 0; i < kTerms; ++i) sum.add(-0x1.fffffffffffffp30);
  EXPECT_EQ(sum.value(), 0.0);
}

TEST(ExactSum, IsNotANumberOnceATermIsNotFinite) {
  constexpr double kInfinity = std::numeric_limits<double>::infinity();
  constexpr double kNaN = std::numeric_limits<double>::quiet_NaN();
  for (const double bad : {kNaN, kInfinity, -kInfinity, 0x1p295, -0x1p295, std::numeric_limits<double>::max()}) {
    EXPECT_TRUE(std::isnan(exact_sum({1, bad, 2}))) << bad;
    ExactSum total, part;
    part.add(bad);
    total.add(1);
    total.add(part);
    EXPECT_TRUE(std::isnan(total.value())) << bad;
  }
  EXPECT_TRUE(std::isnan(exact_sum({kInfinity, -kInfinity})));
}

}  // namespace
}  // namespace fedmpi
