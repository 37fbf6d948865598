// The kernels against loops that anyone can read, in double.
#include <fmt/format.h>
#include <gtest/gtest.h>

#include <cmath>
#include <numbers>

#include "base/names.hpp"
#include "model/kernels/activations.hpp"
#include "model/kernels/dense.hpp"
#include "model/kernels/losses.hpp"
#include "support/examples.hpp"

namespace fedmpi::model::kernels {
namespace {

using Eigen::Index;

struct Shape {
  Index out, in, n;
};
// Smaller and larger than the kernels' tiles in each direction, and no multiples of them.
constexpr std::array<Shape, 13> kShapes = {{{1, 1, 1},
                                            {1, 7, 3},
                                            {5, 1, 2},
                                            {3, 4, 5},
                                            {10, 33, 1},
                                            {16, 64, 12},
                                            {17, 29, 10},
                                            {31, 300, 25},
                                            {33, 13, 24},
                                            {40, 70, 65},
                                            {300, 70, 9},
                                            {6, 2100, 32},
                                            {7, 50, 260}}};

Matrix random_matrix(Index rows, Index columns, std::uint64_t seed) {
  const Vector values = test::random_vector(static_cast<std::size_t>(rows * columns), 1.0, seed);
  return ConstMatrixView(values.data(), rows, columns);
}
ConstMatrixView constant(const Matrix& m) { return {m.data(), m.rows(), m.cols()}; }
MatrixView view(Matrix& m) { return {m.data(), m.rows(), m.cols()}; }

TEST(Dense, ForwardIsTransposedKernelTimesInputsPlusBias) {
  for (const auto& [out, in, n] : kShapes) {
    const Matrix kernel = random_matrix(in, out, 1), bias = random_matrix(out, 1, 2), x = random_matrix(in, n, 3);
    Matrix y = random_matrix(out, n, 4);
    dense_forward(constant(kernel), constant(bias), constant(x), view(y));
    for (Index o = 0; o < out; ++o)
      for (Index i = 0; i < n; ++i) {
        double expected = bias(o, 0);
        for (Index k = 0; k < in; ++k) expected += double{kernel(k, o)} * double{x(k, i)};
        EXPECT_NEAR(y(o, i), expected, 1e-4) << out << " × " << in << " × " << n;
      }
  }
}

std::span<float> all(Matrix& m) { return {m.data(), static_cast<std::size_t>(m.size())}; }

TEST(Dense, UpdateAddsOuterProducts) {
  for (const auto& [out, in, n] : kShapes) {
    const Matrix errors = random_matrix(out, n, 1), x = random_matrix(in, n, 2);
    const Matrix kernel_before = random_matrix(in, out, 3), bias_before = random_matrix(out, 1, 4);
    Matrix kernel = kernel_before, bias = bias_before;
    dense_update(constant(errors), constant(x), {all(kernel), all(kernel)}, {all(bias), all(bias)});
    for (Index o = 0; o < out; ++o) {
      double expected_bias = bias_before(o, 0);
      for (Index i = 0; i < n; ++i) expected_bias += errors(o, i);
      EXPECT_NEAR(bias(o, 0), expected_bias, 1e-4);
      for (Index k = 0; k < in; ++k) {
        double expected = kernel_before(k, o);
        for (Index i = 0; i < n; ++i) expected += double{errors(o, i)} * double{x(k, i)};
        EXPECT_NEAR(kernel(k, o), expected, 1e-4) << out << " × " << in << " × " << n;
      }
    }
  }
}

// To nothing, from one place to another, and less something: the same sums, rounded in the same order.
TEST(Dense, UpdateAddsUpWhereItIsTold) {
  for (const auto& [out, in, n] : kShapes) {
    SCOPED_TRACE(fmt::format("{} × {} × {}", out, in, n));
    const Matrix errors = random_matrix(out, n, 1), x = random_matrix(in, n, 2);
    Matrix kernel = random_matrix(in, out, 3), bias = random_matrix(out, 1, 4);
    Matrix base = random_matrix(in, out, 5), base_bias = random_matrix(out, 1, 6);
    const auto update = [&](const Accumulator& k, const Accumulator& b) {
      dense_update(constant(errors), constant(x), k, b);
    };
    Matrix in_place = kernel, bias_in_place = bias, to(in, out), bias_to(out, 1), sum = kernel, bias_sum = bias;
    update({all(in_place), all(in_place)}, {all(bias_in_place), all(bias_in_place)});
    update({all(to), all(kernel)}, {all(bias_to), all(bias)});
    EXPECT_EQ(to, in_place);
    EXPECT_EQ(bias_to, bias_in_place);
    update({all(to), all(kernel), all(base)}, {all(bias_to), all(bias), all(base_bias)});
    update({all(sum), all(sum), all(base)}, {all(bias_sum), all(bias_sum), all(base_bias)});
    EXPECT_EQ(to, in_place - base);
    EXPECT_EQ(bias_to, bias_in_place - base_bias);
    EXPECT_EQ(sum, to);
    EXPECT_EQ(bias_sum, bias_to);
    Matrix zeros = Matrix::Zero(in, out), bias_zeros = Matrix::Zero(out, 1);
    update({all(to), {}}, {all(bias_to), {}});
    update({all(zeros), all(zeros)}, {all(bias_zeros), all(bias_zeros)});
    EXPECT_EQ(to, zeros);
    EXPECT_EQ(bias_to, bias_zeros);
  }
}

TEST(Dense, BackwardIsKernelTimesErrors) {
  for (const auto& [out, in, n] : kShapes) {
    const Matrix kernel = random_matrix(in, out, 1), errors = random_matrix(out, n, 2);
    Matrix below = random_matrix(in, n, 3);
    dense_backward(constant(kernel), constant(errors), view(below));
    for (Index k = 0; k < in; ++k)
      for (Index i = 0; i < n; ++i) {
        double expected = 0.0;
        for (Index o = 0; o < out; ++o) expected += double{kernel(k, o)} * double{errors(o, i)};
        EXPECT_NEAR(below(k, i), expected, 1e-4) << out << " × " << in << " × " << n;
      }
  }
}

// What an example contributes does not depend on the batch around it, to the last bit.
TEST(Dense, HasTheSameBitsForAnExampleInAnyBatch) {
  for (const auto& [out, in, n] : kShapes) {
    const Matrix kernel = random_matrix(in, out, 1), bias = random_matrix(out, 1, 2), x = random_matrix(in, n, 3),
                 errors = random_matrix(out, n, 4);
    Matrix together(out, n), alone(out, 1), below_together(in, n), below_alone(in, 1);
    dense_forward(constant(kernel), constant(bias), constant(x), view(together));
    dense_backward(constant(kernel), constant(errors), view(below_together));
    for (Index i = 0; i < n; ++i) {
      const Matrix one = x.col(i), error = errors.col(i);
      dense_forward(constant(kernel), constant(bias), constant(one), view(alone));
      dense_backward(constant(kernel), constant(error), view(below_alone));
      EXPECT_EQ(together.col(i), alone.col(0)) << out << " × " << in << " × " << n;
      EXPECT_EQ(below_together.col(i), below_alone.col(0)) << out << " × " << in << " × " << n;
    }
  }
}

double activation_reference(const std::string& name, double x) {
  if (name == "relu") return std::max(x, 0.0);
  if (name == "tanh") return std::tanh(x);
  if (name == "sigmoid") return 1.0 / (1.0 + std::exp(-x));
  if (name == "gelu") return 0.5 * x * std::erfc(-x / std::numbers::sqrt2);
  ADD_FAILURE() << "no reference for the activation " << name << ": add one";
  return 0.0;
}

TEST(Activations, HaveTheirValuesAndSlopes) {
  const Vector z = {-80, -6, -3.1F, -1, -0.4F, -0.01F, 0.02F, 0.3F, 1, 2.2F, 5, 9, 80};  // whole and cut vectors
  for (const Activation& activation : activations()) {
    Vector values = z, slopes(z.size());
    activation.apply(values, slopes);
    for (std::size_t i = 0; i < z.size(); ++i) {
      const double x = z[i], h = 1e-5;
      const double slope =
          (activation_reference(activation.name, x + h) - activation_reference(activation.name, x - h)) / (2 * h);
      EXPECT_NEAR(values[i], activation_reference(activation.name, x), 1e-6 * std::max(1.0, std::abs(x)))
          << activation.name << " at " << x;
      EXPECT_NEAR(slopes[i], slope, 2e-6) << activation.name << " at " << x;
    }
  }
}

// Loss and errors of one example by the textbook, in double. `z` has one element for two classes as well.
struct Reference {
  double loss = 0.0;
  std::vector<double> errors;
};

Reference cross_entropy_reference(std::vector<double> z, std::int32_t label) {
  if (z.size() == 1) {
    Reference two = cross_entropy_reference({0.0, z[0]}, label);
    return {two.loss, {two.errors[1]}};
  }
  double largest = z[0], sum = 0.0;
  for (const double x : z) largest = std::max(largest, x);
  for (const double x : z) sum += std::exp(x - largest);
  Reference r{std::log(sum) + largest - z[static_cast<std::size_t>(label)], {}};
  for (std::size_t c = 0; c < z.size(); ++c)
    r.errors.push_back(std::exp(z[c] - largest) / sum - (static_cast<std::int32_t>(c) == label ? 1.0 : 0.0));
  return r;
}

Reference squared_reference(const std::vector<double>& z, const std::vector<double>& target) {
  Reference r;
  for (std::size_t c = 0; c < z.size(); ++c) {
    r.errors.push_back(z[c] - target[c]);
    r.loss += 0.5 * r.errors[c] * r.errors[c];
  }
  return r;
}

std::vector<double> column(const Matrix& m, Index i) { return {m.col(i).begin(), m.col(i).end()}; }

void expect_losses(const Loss& loss, Matrix outputs, const data::Batch& batch, const std::vector<Reference>& expected) {
  const Score score = loss.apply(view(outputs), batch);
  double sum = 0.0;
  for (std::size_t i = 0; i < expected.size(); ++i) {
    sum += expected[i].loss;
    for (std::size_t c = 0; c < expected[i].errors.size(); ++c)
      EXPECT_NEAR(outputs(static_cast<Index>(c), static_cast<Index>(i)), expected[i].errors[c], 1e-6);
  }
  EXPECT_NEAR(score.loss, sum, 1e-6 * std::max(1.0, sum));
}

class Losses : public testing::TestWithParam<Index> {};  // outputs
INSTANTIATE_TEST_SUITE_P(Outputs, Losses, testing::Values(1, 2, 3, 10, 33));

TEST_P(Losses, CrossEntropyOfLabels) {
  const Index outputs = GetParam();
  const std::size_t n = 20;
  const data::Schema schema = test::classification(1, std::max<std::size_t>(2, static_cast<std::size_t>(outputs)));
  const data::Block block = test::random_block(schema, {n});
  data::BatchBuffer buffer(schema, n);
  Matrix z = 4.0F * random_matrix(outputs, static_cast<Index>(n), 5);
  std::vector<Reference> expected;
  for (std::size_t i = 0; i < n; ++i)
    expected.push_back(cross_entropy_reference(column(z, static_cast<Index>(i)), block.labels[i]));
  expect_losses(find_by_name(losses(), "cross-entropy", ""), z, block.gather(0, n, buffer), expected);
}

TEST_P(Losses, SquaredErrorOfTargetsAndLabels) {
  const Index outputs = GetParam();
  const std::size_t n = 20, k = static_cast<std::size_t>(outputs);
  const Loss& squared = find_by_name(losses(), "squared", "");
  const Matrix z = random_matrix(outputs, static_cast<Index>(n), 6);
  const auto expect = [&](const data::Schema& schema, auto target_of) {
    const data::Block block = test::random_block(schema, {n});
    data::BatchBuffer buffer(schema, n);
    std::vector<Reference> expected;
    for (std::size_t i = 0; i < n; ++i)
      expected.push_back(squared_reference(column(z, static_cast<Index>(i)), target_of(block, i)));
    expect_losses(squared, z, block.gather(0, n, buffer), expected);
  };
  expect(test::regression(1, k), [&](const data::Block& b, std::size_t i) {
    return std::vector<double>(b.targets.begin() + static_cast<std::ptrdiff_t>(i * k),
                               b.targets.begin() + static_cast<std::ptrdiff_t>((i + 1) * k));
  });
  if (k < 2) return;
  expect(test::classification(1, k), [&](const data::Block& b, std::size_t i) {
    std::vector<double> unit(k);
    unit[static_cast<std::size_t>(b.labels[i])] = 1.0;
    return unit;
  });
}

TEST(CrossEntropy, DoesNotOverflow) {
  const Loss& loss = find_by_name(losses(), "cross-entropy", "");
  const std::vector<std::int32_t> labels = {0, 1, 0, 1};
  const data::Batch batch{.labels = labels, .size = 4};
  Matrix one(1, 4), two(2, 4);
  one << 1e4F, 1e4F, -1e4F, -1e4F;
  two << 0, 0, 1e4F, 1e4F,  //
      1e4F, 1e4F, 0, 0;
  for (Matrix* z : {&one, &two}) {
    const Score score = loss.apply(view(*z), batch);
    EXPECT_DOUBLE_EQ(score.loss, 2e4);
    EXPECT_EQ(score.metric, 2.0);
    EXPECT_TRUE(z->allFinite());
    EXPECT_EQ(std::abs((*z)(0, 0)), 1.0F);
    EXPECT_EQ((*z)(0, 1), 0.0F);
  }
}

TEST(Losses, CountWhatIsRight) {
  const std::vector<std::int32_t> labels = {0, 2, 1, 1};
  const data::Batch classes{.labels = labels, .size = 4};
  Matrix z(3, 4);   // predicts 0, 2, 0, 1
  z << 3, 0, 1, 0,  //
      1, 0, 0, 1,   //
      2, 1, 0, 0;
  for (const Loss& loss : losses()) {
    Matrix outputs = z;
    EXPECT_EQ(loss.apply(view(outputs), classes).metric, 3.0) << loss.name;
  }
  const std::vector<std::int32_t> two_labels = {0, 1, 1, 1};
  Matrix one(1, 4);  // predicts 0, 1, 0, 1
  one << -1, 2, -3, 0.5F;
  EXPECT_EQ(find_by_name(losses(), "cross-entropy", "").apply(view(one), {.labels = two_labels, .size = 4}).metric,
            3.0);
  Matrix overflown = Matrix::Constant(1, 4, NAN);  // predicts nothing
  EXPECT_EQ(
      find_by_name(losses(), "cross-entropy", "").apply(view(overflown), {.labels = two_labels, .size = 4}).metric,
      0.0);
  const Matrix targets = Matrix::Zero(3, 4);
  const data::Batch numbers{.targets = constant(targets), .size = 4};
  EXPECT_EQ(find_by_name(losses(), "squared", "").apply(view(z), numbers).metric, 9 + 1 + 4 + 1 + 1 + 1);
}

// A label of -1 is as if its row were not there.
TEST(Losses, SkipTheLabelMinusOne) {
  const std::vector<std::int32_t> some = {1, 0}, with_others = {-1, 1, -1, 0, -1};
  for (const Loss& loss : losses())
    for (const Index outputs : {1, 2, 40}) {
      if (outputs == 1 && !loss.needs_classes) continue;
      SCOPED_TRACE(fmt::format("{} of {} outputs", loss.name, outputs));
      Matrix counted = random_matrix(outputs, 2, 7), all = Matrix::Constant(outputs, 5, NAN);
      all.col(1) = counted.col(0);
      all.col(3) = counted.col(1);
      const Score expected = loss.apply(view(counted), {.labels = some, .size = 2});
      const Score found = loss.apply(view(all), {.labels = with_others, .size = 5});
      EXPECT_EQ(found.loss, expected.loss);
      EXPECT_EQ(found.metric, expected.metric);
      EXPECT_EQ(found.count, 2.0);
      EXPECT_EQ(expected.count, 2.0);
      Matrix errors = Matrix::Zero(outputs, 5);
      errors.col(1) = counted.col(0);
      errors.col(3) = counted.col(1);
      EXPECT_EQ(all, errors);
    }
}

// NaN is no prediction, wherever it stands, and shows in the loss.
TEST(Losses, CountNothingAsRightThatIsNoNumber) {
  for (const Loss& loss : losses())
    for (const Index outputs : {1, 2, 3, 17, 40})
      for (Index at = 0; at < outputs; ++at)
        for (std::int32_t label = 0; label < std::max<Index>(2, outputs); ++label) {
          if (outputs == 1 && !loss.needs_classes) continue;
          Matrix z = Matrix::Zero(outputs, 1);
          if (outputs > 1) z(label, 0) = 1.0F;
          z(at, 0) = NAN;
          const std::vector<std::int32_t> labels = {label};
          const Score score = loss.apply(view(z), {.labels = labels, .size = 1});
          EXPECT_EQ(score.metric, 0.0) << loss.name << " of " << outputs << " at " << at << ", label " << label;
          EXPECT_TRUE(std::isnan(score.loss)) << loss.name << " of " << outputs << " at " << at << ", label " << label;
        }
}

TEST(CrossEntropy, AddsUpManySmallProbabilities) {
  constexpr Index kClasses = 50000;
  Matrix z = Matrix::Constant(kClasses, 1, -17.0F);  // e^-17 < 2^-24: each alone vanishes beside 1
  z(0, 0) = 0.0F;
  const double sum = 1.0 + (kClasses - 1) * std::exp(-17.0);
  const std::vector<std::int32_t> labels = {1};
  const Score score = find_by_name(losses(), "cross-entropy", "").apply(view(z), {.labels = labels, .size = 1});
  EXPECT_NEAR(score.loss, 17.0 + std::log(sum), 1e-5);
  EXPECT_NEAR(z(0, 0), 1.0 / sum, 1e-5);
}

TEST(Activations, PassNoNumberOn) {
  for (const Activation& activation : activations())
    for (const std::size_t n : {1u, 15u, 16u, 33u}) {
      Vector values(n, NAN), slopes(n);
      activation.apply(values, slopes);
      for (const float y : values) EXPECT_TRUE(std::isnan(y)) << activation.name;
    }
}

}  // namespace
}  // namespace fedmpi::model::kernels
