#include "base/layout.hpp"

#include <gtest/gtest.h>

#include <numeric>

#include "support/expect_error.hpp"

namespace fedmpi {
namespace {

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

// {height, width, inputs, outputs}: what a file shows with the last index running fastest, and memory column by column.
TEST(Layout, TakesTheLastDimensionOfManyAsColumns) {
  Layout layout;
  layout.add("conv_1", "bias", {5});
  const std::size_t kernel = layout.add("conv_1", "kernel", {2, 3, 4, 5}, {.penalised = true});
  std::vector<float> parameters(layout.size());
  std::iota(parameters.begin(), parameters.end(), 0.0F);
  const ConstMatrixView view = layout.view(std::span<const float>(parameters), kernel);
  EXPECT_EQ(layout.size(), 5u + 120u);
  ASSERT_EQ(view.rows(), 24);
  ASSERT_EQ(view.cols(), 5);
  EXPECT_EQ(view(7, 3), static_cast<float>(5 + 3 * 24 + 7));
}

TEST(Layout, GivesNumbersOfEightBytesTwoFloatsOnAnEvenPlace) {
  Layout layout;
  layout.add("", "steps", {1});
  const std::size_t hessian = layout.add("", "hessian", {3}, {.type = Number::float64});
  EXPECT_EQ(layout.tensors()[hessian].offset, 2u);
  EXPECT_EQ(layout.tensors()[hessian].path(), "hessian");
  EXPECT_EQ(layout.size(), 8u);
  std::vector<float> vector(layout.size());
  as_doubles(layout.part(std::span(vector), hessian))[2] = 1.0 / 3.0;
  EXPECT_EQ(as_doubles(layout.part(std::span<const float>(vector), hessian))[2], 1.0 / 3.0);
  EXPECT_EQ(vector[1], 0.0F);
  test::expect_error(ExitCode::bug, {"float32"}, [&] { layout.view(std::span(vector), hessian); });
}

TEST(Layout, RefusesMoreNumbersThanCanBeCounted) {
  Layout layout;
  const std::size_t huge = std::size_t{1} << 31;
  test::expect_error(ExitCode::usage, {"a/kernel"}, [&] { layout.add("a", "kernel", {huge, huge}); });
  test::expect_error(ExitCode::usage, {"a/kernel"}, [&] { layout.add("a", "kernel", {huge, huge, 4}); });
  layout.add("a", "kernel", {huge, huge / 4});
  test::expect_error(ExitCode::usage, {"b/kernel"}, [&] { layout.add("b", "kernel", {huge, huge / 4}); });
}

TEST(Layout, HandsOutNoViewBeyondTheVector) {
  Layout layout;
  layout.add("a", "kernel", {4, 2});
  std::vector<float> vector(layout.size() - 1);
  test::expect_error(ExitCode::bug, {"a/kernel"}, [&] { layout.view(std::span(vector), 0); });
}

TEST(Layout, IsTheSameWhereNamesShapesAndPlacesAre) {
  Layout a, b, c;
  a.add("dense_1", "kernel", {4, 2}, {.penalised = true});
  b.add("dense_1", "kernel", {4, 2});
  c.add("dense_1", "kernel", {2, 4});
  EXPECT_EQ(a, b);
  EXPECT_NE(a, c);
}

}  // namespace
}  // namespace fedmpi
