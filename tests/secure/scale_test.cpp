#include "secure/scale.hpp"

#include <gtest/gtest.h>

#include <cmath>
#include <limits>

#include "base/vector.hpp"
#include "secure/coder.hpp"
#include "support/examples.hpp"
#include "support/expect_error.hpp"

namespace fedmpi::secure {
namespace {

// 5 numbers, 1 number in a fixed scale, and 3 of eight bytes.
Layout message() {
  Layout layout;
  layout.add("", "update", {5});
  layout.add("", "count", {1}, {.exponent = 30});
  layout.add("", "sums", {3}, {.type = Number::float64});
  return layout;
}

TEST(Scale, FollowsTheLargestValueOfEachPart) {
  const Layout layout = message();
  const Scale first = first_scale(layout);
  EXPECT_EQ(first.exponents[0], kFirstExponent);
  EXPECT_EQ(first.exponents[1], 30);
  const Largest largest = {1e-4F, 12.0F, 1e12F};
  const Scale next = scale_for(layout, largest, 1.0, first);
  EXPECT_EQ(next.exponents[0], exponent_for(1e-4F));
  EXPECT_EQ(next.exponents[1], 30);
  EXPECT_EQ(next.exponents[2], exponent_for(1e12F));
  EXPECT_TRUE(fits(layout, largest, 1.0, next));
  EXPECT_FALSE(fits(layout, largest, 1.0, first)) << "the third overflows";
  EXPECT_EQ(scale_for(layout, {}, 1.0, next), next) << "zeros say nothing";
}

TEST(Scale, LeavesRoomForWeightsThatAddUpToMoreThanOne) {
  const Layout layout = message();
  const Largest largest = {1.0F, 0.0F, 0.0F};
  const Scale scale = scale_for(layout, largest, 1.0, first_scale(layout));
  EXPECT_TRUE(fits(layout, largest, 8000.0, scale));
  EXPECT_FALSE(fits(layout, largest, 9000.0, scale));
  EXPECT_TRUE(fits(layout, largest, 9000.0, scale_for(layout, largest, 9000.0, scale)));
}

TEST(Scale, KeepsAFixedOneHoweverSmallTheValuesAre) {
  const Layout layout = message();
  EXPECT_TRUE(fits(layout, {1.0F, 1e-20F, 1.0F}, 1.0, first_scale(layout)));
  EXPECT_FALSE(fits(layout, {1.0F, 1e12F, 1.0F}, 1.0, first_scale(layout)));
  test::expect_error(ExitCode::bug, {"count", "30"}, [&] {
    scale_for(layout, {1.0F, 1e12F, 1.0F}, 1.0, first_scale(layout));
  });
}

TEST(Scale, RefusesMoreTensorsThanItHasRoomFor) {
  Layout layout;
  for (std::size_t i = 0; i <= kMostParts; ++i) layout.add("", "part", {1});
  test::expect_error(ExitCode::bug, {"9", "8"}, [&] { first_scale(layout); });
}

TEST(Largest, FindsWhatIsNotFiniteInEachPart) {
  const Layout layout = message();
  Vector values(layout.size(), 0.5F);
  const auto sums = as_doubles(layout.part(std::span(values), 2));
  for (double& x : sums) x = 1.0;
  values[2] = -3.0F;
  sums[1] = -(1.0 + 1e-12);
  const Largest largest = largest_of(layout, values);
  EXPECT_EQ(largest[0], 3.0F);
  EXPECT_EQ(largest[1], 0.5F);
  EXPECT_GT(largest[2], 1.0F) << "rounded up";
  EXPECT_TRUE(all_finite(largest));
  for (const double bad : {std::nan(""), HUGE_VAL, 1e300}) {
    sums[2] = bad;
    EXPECT_FALSE(all_finite(largest_of(layout, values))) << bad;
  }
  sums[2] = 0.0;
  values[4] = NAN;
  EXPECT_FALSE(all_finite(largest_of(layout, values)));
}

// In one piece, and in pieces that begin and end within the parts.
TEST(Coder, AddsUpWeightedNumbersOfEveryPart) {
  const Layout layout = message();
  const Coder coder(layout);
  EXPECT_EQ(coder.numbers(), 9u);
  EXPECT_EQ(coder.floats(), 12u);
  Vector a = test::random_vector(layout.size()), b = test::random_vector(layout.size(), 1.0, 2);
  for (std::size_t j = 0; j < 3; ++j) {
    as_doubles(layout.part(std::span(a), 2))[j] = 1e10 / 3.0 + static_cast<double>(j);
    as_doubles(layout.part(std::span(b), 2))[j] = -7.0;
  }
  Largest largest = largest_of(layout, a);
  take_larger(largest, largest_of(layout, b));
  const Scale scale = scale_for(layout, largest, 1.0, first_scale(layout));

  std::vector<std::int64_t> sum(coder.numbers()), pieces(coder.numbers());
  coder.encode(a, 0.25, scale, 0, sum, Encode::set);
  coder.encode(b, 0.75, scale, 0, sum, Encode::add);
  for (std::size_t first = 0; first < sum.size(); first += 4) {
    const std::size_t n = std::min<std::size_t>(4, sum.size() - first);
    coder.encode(a, 0.25, scale, first, std::span(pieces).subspan(first, n), Encode::set);
    coder.encode(b, 0.75, scale, first, std::span(pieces).subspan(first, n), Encode::add);
  }
  EXPECT_EQ(sum, pieces);

  Vector mean(layout.size());
  coder.decode(std::span(sum).first(7), 2.0, scale, 0, mean);
  coder.decode(std::span(sum).subspan(7), 2.0, scale, 7, mean);
  for (std::size_t j = 0; j < 6; ++j) EXPECT_NEAR(mean[j], 2.0 * (0.25 * a[j] + 0.75 * b[j]), 1e-6);
  for (std::size_t j = 0; j < 3; ++j)
    EXPECT_NEAR(as_doubles(layout.part(std::span(mean), 2))[j],
                2.0 * (0.25 * (1e10 / 3.0 + static_cast<double>(j)) - 0.75 * 7.0), 1e-4);
}

}  // namespace
}  // namespace fedmpi::secure
