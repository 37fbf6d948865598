#include "update/filter.hpp"

#include <gtest/gtest.h>

#include <cmath>

#include "base/magnitude.hpp"
#include "support/examples.hpp"
#include "support/expect_error.hpp"

namespace fedmpi::update {
namespace {

TEST(Clip, ScalesLongUpdatesDownToItsNormAndLeavesShortOnesAlone) {
  const auto clip = make_clip(2.0);
  Vector longer = test::random_vector(1000), shorter = test::random_vector(1000, 0.05);
  const Vector before = longer, left_alone = shorter;
  EXPECT_TRUE(clip->apply(longer));
  EXPECT_NEAR(norm(longer), 2.0, 1e-5);
  for (std::size_t j = 0; j < longer.size(); ++j)
    EXPECT_NEAR(longer[j], double{before[j]} * 2.0 / norm(before), 1e-6) << "the direction stays";
  EXPECT_FALSE(clip->apply(shorter));
  EXPECT_EQ(shorter, left_alone);
}

// What a privacy proof stands on.
TEST(Clip, NeverLeavesMoreThanItsNorm) {
  for (std::uint64_t seed = 1; seed <= 200; ++seed)
    for (const double limit : {1e-3, 0.37, 1.0, 50.0}) {
      Vector update = test::random_vector(1 + seed * 7, 1000.0, seed);
      make_clip(limit)->apply(update);
      EXPECT_LE(norm(update), limit);
    }
}

TEST(Clip, LeavesWhatIsNotFiniteToBeFound) {
  Vector update = {1.0F, NAN, 3.0F};
  EXPECT_FALSE(make_clip(1.0)->apply(update));
  EXPECT_TRUE(std::isnan(update[1]));
  update = {1e30F, INFINITY};
  EXPECT_FALSE(make_clip(1.0)->apply(update));
}

TEST(EveryFilter, LeavesNoMoreThanItsBound) {
  for (const auto& filter : make({.clip = 0.25})) {
    Vector update = test::random_vector(100);
    filter->apply(update);
    EXPECT_LE(largest_magnitude(update), filter->bound().value_or(HUGE_VALF));
  }
}

TEST(Filters, AreThoseThatAreAskedFor) {
  EXPECT_TRUE(make({}).empty());
  EXPECT_EQ(make({.clip = 1.0}).size(), 1u);
  for (const double bad : {-1.0, std::nan(""), HUGE_VAL})
    test::expect_error(ExitCode::usage, {"update.clip"}, [&] { make({.clip = bad}); });
}

}  // namespace
}  // namespace fedmpi::update
