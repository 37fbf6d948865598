#include "secure/ring.hpp"

#include <gtest/gtest.h>

#include <algorithm>
#include <cfloat>
#include <cmath>
#include <limits>
#include <numeric>

#include "base/magnitude.hpp"
#include "support/examples.hpp"

namespace fedmpi::secure {
namespace {

__extension__ using Wide = __int128;

// Updates of some clients and the clients' examples, of which there are 2^10 in all, so that weights are exact.
struct Contributions {
  static constexpr int kExamplesLog = 10;

  Contributions(std::size_t clients, double size) : examples(clients) {
    Stream stream(clients, Purpose::generate);
    for (std::size_t left = std::size_t{1} << kExamplesLog, c = 0; c < clients; ++c) {
      examples[c] = c + 1 == clients ? left : 1 + stream.below(2 * left / (clients - c) - 1);
      left -= examples[c];
      updates.push_back(test::random_vector(500, size, 100 + c));
      updates.back()[c] = 0.0F;
      updates.back()[c + 20] *= 1e-6F;  // not all of one magnitude
      largest = std::max(largest, largest_magnitude(updates.back()));
    }
  }
  double weight(std::size_t c) const { return std::ldexp(static_cast<double>(examples[c]), -kExamplesLog); }
  std::vector<std::int64_t> sum(int exponent, std::span<const std::size_t> order) const {
    std::vector<std::int64_t> total(updates[0].size());
    for (const std::size_t c : order) encode(updates[c], weight(c), exponent, total, Encode::add);
    return total;
  }

  std::vector<std::size_t> examples;
  std::vector<Vector> updates;
  float largest = 0.0F;
};

std::vector<std::size_t> in_order(std::size_t n) {
  std::vector<std::size_t> order(n);
  std::iota(order.begin(), order.end(), std::size_t{0});
  return order;
}

// x · examples · 2^(exponent - kExamplesLog), rounded to the nearest integer, ties to even, in integers alone.
Wide encode_reference(float x, std::size_t examples, int exponent) {
  int binary = 0;
  const Wide mantissa = static_cast<Wide>(std::ldexp(std::frexp(x, &binary), 24)) * static_cast<Wide>(examples);
  const int shift = binary - 24 + exponent - Contributions::kExamplesLog;
  if (shift >= 0) return mantissa << shift;
  if (shift < -100) return 0;
  const Wide unit = Wide{1} << -shift, below = mantissa >> -shift, rest = mantissa - below * unit;
  return below + (2 * rest > unit || (2 * rest == unit && below % 2 != 0) ? 1 : 0);
}

class Ring : public testing::TestWithParam<std::size_t> {};  // clients
INSTANTIATE_TEST_SUITE_P(Clients, Ring, testing::Range<std::size_t>(2, 10));

TEST_P(Ring, SumsAsIntegersDo) {
  for (const double size : {1e-30, 1e-3, 1.0, 1e20}) {
    const Contributions c(GetParam(), size);
    const int exponent = exponent_for(c.largest);
    const std::vector<std::int64_t> sum = c.sum(exponent, in_order(GetParam()));
    for (std::size_t j = 0; j < sum.size(); ++j) {
      Wide expected = 0;
      for (std::size_t k = 0; k < GetParam(); ++k)
        expected += encode_reference(c.updates[k][j], c.examples[k], exponent);
      EXPECT_TRUE(Wide{sum[j]} == expected) << "element " << j << " of size " << size;
    }
  }
}

TEST_P(Ring, DoesNotDependOnTheOrder) {
  const Contributions c(GetParam(), 0.1);
  std::vector<std::size_t> order = in_order(GetParam());
  const std::vector<std::int64_t> first = c.sum(kFirstExponent, order);
  Stream stream(1, Purpose::order);
  for (int i = 0; i < 5; ++i) {
    stream.shuffle(std::span<std::size_t>(order));
    EXPECT_EQ(c.sum(kFirstExponent, order), first);
  }
}

// At the ends of what fits() allows: not an error larger than float32's own rounding of the largest value.
TEST_P(Ring, LosesNoMoreThanTheRoundingOfFloat32) {
  const Contributions c(GetParam(), 0.37);
  const double rounding = std::ldexp(1.0, std::ilogb(c.largest) - 24);  // half a unit in its last place
  int tried = 0;
  for (int exponent = -100; exponent < 200; ++exponent) {
    if (!fits(c.largest, exponent)) continue;
    ++tried;
    Vector mean(c.updates[0].size());
    decode(c.sum(exponent, in_order(GetParam())), 1.0, exponent, mean);
    for (std::size_t j = 0; j < mean.size(); ++j) {
      double exact = 0.0;
      for (std::size_t k = 0; k < GetParam(); ++k) exact += c.weight(k) * double{c.updates[k][j]};
      // The result's own rounding, and that of the encodings, less than a thousandth of it each.
      EXPECT_NEAR(mean[j], exact, 1.01 * rounding) << "exponent " << exponent;
    }
  }
  EXPECT_GE(tried, 28);
}

TEST(RingScale, LeavesFiftyBitsAndHeadroom) {
  for (const float largest : {FLT_TRUE_MIN, 3 * FLT_TRUE_MIN, FLT_MIN, 0.5F, std::nextafter(1.0F, 0.0F), 1.0F,
                              std::nextafter(1.0F, 2.0F), 1024.0F, FLT_MAX}) {
    const int exponent = exponent_for(largest);
    const double scaled = std::ldexp(double{largest}, exponent);
    EXPECT_GE(scaled, 0x1p49) << largest;
    EXPECT_LT(scaled, 0x1p50) << largest;
    EXPECT_TRUE(fits(largest, exponent)) << largest;
    EXPECT_TRUE(fits(largest, exponent + 12)) << largest;
    EXPECT_FALSE(fits(largest, exponent + 14)) << largest;
    EXPECT_TRUE(fits(largest, exponent - 15)) << largest;
    EXPECT_FALSE(fits(largest, exponent - 17)) << largest;
  }
}

TEST(RingScale, EndsAtPowersOfTwo) {
  EXPECT_TRUE(fits(0x1p20F, 42));
  EXPECT_FALSE(fits(std::nextafter(0x1p20F, 0x1p21F), 42));
  EXPECT_TRUE(fits(0x1p-8F, 42));
  EXPECT_FALSE(fits(std::nextafter(0x1p-8F, 0.0F), 42));
  EXPECT_TRUE(fits(0.0F, 42));
  EXPECT_FALSE(fits(FLT_MAX, kFirstExponent));
  EXPECT_FALSE(fits(FLT_TRUE_MIN, kFirstExponent));
  EXPECT_FALSE(fits(HUGE_VALF, kFirstExponent));
  EXPECT_FALSE(fits(std::nanf(""), kFirstExponent));
}

TEST(RingScale, KeepsTheLargestValueThatFits) {
  const Vector update = {0x1p20F, -0x1p20F, 1.0F, -0.0F};
  std::vector<std::int64_t> sum(4);
  // Two clients of weight one half, both as large as can be.
  encode(update, 0.5, 42, sum, Encode::add);
  encode(update, 0.5, 42, sum, Encode::add);
  EXPECT_EQ(sum[0], std::int64_t{1} << 62);
  EXPECT_EQ(sum[1], -(std::int64_t{1} << 62));
  Vector back(4);
  decode(sum, 1.0, 42, back);
  EXPECT_EQ(back, update);
}

TEST(RingScale, HoldsTheWholeRangeOfFloat32) {
  for (const float x : {FLT_TRUE_MIN, FLT_MIN, 1.0F, FLT_MAX}) {
    const Vector update = {x, -x};
    std::vector<std::int64_t> sum(2);
    encode(update, 1.0, exponent_for(x), sum, Encode::set);
    Vector back(2);
    decode(sum, 1.0, exponent_for(x), back);
    EXPECT_EQ(back, update);
  }
}

// Of a number of elements that no vector unit divides, and with weights of 53 bits: first rounded to a double, then to
// the nearest integer, ties to even.
TEST(RingConversions, AreThoseOfTheProcessorAtEverySize) {
  constexpr std::size_t kSize = 1003;
  Stream stream(7, Purpose::generate);
  std::size_t ties = 0;
  for (int exponent = 0; exponent <= 62; ++exponent) {
    for (const double weight : {1.0, 0.5, 1.0 / 3, 1 - stream.uniform()}) {
      Vector values(kSize);
      for (float& x : values) x = static_cast<float>(2 * stream.uniform() - 1);
      values[0] = 1.0F;
      values[1] = -1.0F;
      for (std::size_t j = 2; j < 200; ++j)  // halves
        values[j] = std::ldexp(static_cast<float>(stream.below(4096)) - 2048, -exponent - 1);
      std::vector<std::int64_t> sum(kSize);
      encode(values, weight, exponent, sum, Encode::set);
      Vector back(kSize);
      decode(sum, weight, exponent, back);
      for (std::size_t j = 0; j < kSize; ++j) {
        volatile double product = double{values[j]} * std::ldexp(weight, exponent);
        if (product != std::rint(product) && 2 * product == std::rint(2 * product)) ++ties;
        ASSERT_EQ(sum[j], std::llrint(product)) << values[j] << " · " << weight << " · 2^" << exponent;
        ASSERT_EQ(back[j], static_cast<float>(static_cast<double>(sum[j]) * std::ldexp(weight, -exponent)));
      }
      if (exponent == 62) continue;  // of which there is no room for two
      std::vector<std::int64_t> twice = sum;
      encode(values, weight, exponent, twice, Encode::add);
      for (std::size_t j = 0; j < kSize; ++j) ASSERT_EQ(twice[j], 2 * sum[j]);
    }
  }
  EXPECT_GT(ties, 5000U);
}

TEST(RingDecode, RoundsEverySumOnce) {
  std::vector<std::int64_t> sum = {std::numeric_limits<std::int64_t>::min(), std::numeric_limits<std::int64_t>::max(),
                                   -1};
  Stream stream(8, Purpose::generate);
  for (int shift = 0; shift < 64; ++shift)
    for (int i = 0; i < 100; ++i)
      sum.push_back(static_cast<std::int64_t>((std::uint64_t{stream.bits()} << 32 | stream.bits()) << shift >> shift));
  for (std::size_t j = sum.size(); j-- > 0;) sum.push_back(-(sum[j] + 1));
  Vector values(sum.size());
  decode(sum, 1.0 / 3, 3, values);
  for (std::size_t j = 0; j < sum.size(); ++j)
    ASSERT_EQ(values[j], static_cast<float>(static_cast<double>(sum[j]) * (1.0 / 24))) << sum[j];
}

TEST(RingDecode, ScalesByItsFactor) {
  const std::vector<std::int64_t> sum = {3 << 10, -(5 << 10)};
  Vector values(2);
  decode(sum, 1.5, 10, values);
  EXPECT_EQ(values, (Vector{4.5F, -7.5F}));
}

}  // namespace
}  // namespace fedmpi::secure
