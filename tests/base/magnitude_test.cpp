#include "base/magnitude.hpp"

#include <gtest/gtest.h>

#include <limits>
#include <vector>

#include "base/vector.hpp"

namespace fedmpi {
namespace {

constexpr float kInfinity = std::numeric_limits<float>::infinity();
constexpr float kNaN = std::numeric_limits<float>::quiet_NaN();

TEST(LargestMagnitude, IgnoresTheSign) {
  EXPECT_EQ(largest_magnitude({}), 0.0f);
  EXPECT_EQ(largest_magnitude(std::vector<float>{1, -3, 2}), 3.0f);
  EXPECT_EQ(largest_magnitude(std::vector<float>{-0.0f, -1e-45f}), 1e-45f);
}

TEST(LargestMagnitude, ShowsWhatIsNotFinite) {
  EXPECT_EQ(largest_magnitude(std::vector<float>{1, -kInfinity, 3}), kInfinity);
  for (const float bad : {kNaN, -kNaN, kInfinity, -kInfinity})
    for (std::size_t at = 0; at < 40; ++at) {
      std::vector<float> values(40, 1.0f);
      EXPECT_TRUE(all_finite(values));
      values[at] = bad;
      EXPECT_FALSE(all_finite(values)) << at;
    }
  EXPECT_TRUE(std::isnan(largest_magnitude(std::vector<float>{kInfinity, kNaN})));
}

TEST(Vector, StartsAtACacheLine) {
  for (std::size_t n = 1; n < 100; n += 7)
    EXPECT_EQ(reinterpret_cast<std::uintptr_t>(Vector(n).data()) % kAlignment, 0u) << n;
}

}  // namespace
}  // namespace fedmpi
