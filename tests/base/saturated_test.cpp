#include "base/saturated.hpp"

#include <gtest/gtest.h>

namespace fedmpi {
namespace {

TEST(Saturated, CountsAsNumbersDo) {
  Saturated bytes = Saturated(6) * 7 + 8;
  bytes += 50;
  EXPECT_EQ(bytes.value, 100u);
  EXPECT_EQ((Saturated(UINT64_MAX) * 1 + 0).value, UINT64_MAX);
  EXPECT_EQ((Saturated(UINT64_MAX) * 0).value, 0u);
}

TEST(Saturated, NeverWraps) {
  const std::uint64_t half = std::uint64_t{1} << 63;
  EXPECT_EQ((Saturated(half) + half).value, UINT64_MAX);
  EXPECT_EQ((Saturated(half) * 2).value, UINT64_MAX);
  EXPECT_EQ((Saturated(half) * 2 + 1).value, UINT64_MAX);
  EXPECT_EQ((Saturated(4611686018427387904u) * sizeof(float)).value, UINT64_MAX);
}

}  // namespace
}  // namespace fedmpi
