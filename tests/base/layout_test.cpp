#include "base/layout.hpp"

#include <gtest/gtest.h>

#include <numeric>

namespace fedmpi {
namespace {

using Shape = std::vector<std::size_t>;

TEST(Layout, PlacesTensorsOneBehindTheOther) {
  Layout layout;
  EXPECT_EQ(layout.size(), 0u);
  EXPECT_EQ(layout.add("dense_1", "kernel", {2, 3}), 0u);
  EXPECT_EQ(layout.add("dense_1", "bias", {3}), 1u);
  EXPECT_EQ(layout.add("dense_2", "kernel", {3, 1}), 2u);
  EXPECT_EQ(layout.size(), 12u);
  ASSERT_EQ(layout.tensors().size(), 3u);
  EXPECT_EQ(layout.tensors()[1].layer, "dense_1");
  EXPECT_EQ(layout.tensors()[1].name, "bias");
  EXPECT_EQ(layout.tensors()[1].shape, Shape{3});
  EXPECT_EQ(layout.tensors()[0].offset, 0u);
  EXPECT_EQ(layout.tensors()[1].offset, 6u);
  EXPECT_EQ(layout.tensors()[2].offset, 9u);
}

TEST(Layout, HoldsTheWeightsOfAnOutputTogether) {
  Layout layout;
  layout.add("dense_1", "bias", {2});
  const std::size_t kernel = layout.add("dense_1", "kernel", {2, 3});
  std::vector<float> parameters(layout.size());
  std::iota(parameters.begin(), parameters.end(), 0.0f);

  const ConstMatrixView view = layout.view(std::span<const float>(parameters), kernel);
  ASSERT_EQ(view.rows(), 2);  // inputs
  ASSERT_EQ(view.cols(), 3);  // outputs
  for (int input = 0; input < 2; ++input)
    for (int output = 0; output < 3; ++output)
      EXPECT_EQ(view(input, output), static_cast<float>(2 + output * 2 + input));
}

TEST(Layout, ViewsWriteThroughToTheVector) {
  Layout layout;
  layout.add("a", "kernel", {4, 2});
  const std::size_t bias = layout.add("a", "bias", {2});
  std::vector<float> parameters(layout.size());
  const MatrixView view = layout.view(std::span<float>(parameters), bias);
  ASSERT_EQ(view.rows(), 2);
  ASSERT_EQ(view.cols(), 1);
  EXPECT_EQ(view.data(), parameters.data() + 8);
}

}  // namespace
}  // namespace fedmpi
