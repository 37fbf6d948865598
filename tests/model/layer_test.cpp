// What holds for every layer: each has a row in kLayers.
#include "model/layer.hpp"

#include <gtest/gtest.h>

#include <array>
#include <cmath>
#include <functional>
#include <memory>
#include <ostream>
#include <set>

#include "model/layers/activation.hpp"
#include "model/layers/dense.hpp"
#include "model/sequence.hpp"
#include "support/derivative.hpp"
#include "support/examples.hpp"

namespace fedmpi::model {
namespace {

using Eigen::Index;

constexpr std::size_t kRows = 7;

template <std::size_t i>
std::unique_ptr<Layer> make_activation(Tensors& tensors, const Shape& inputs) {
  return std::make_unique<layers::Activation>(tensors, inputs, kernels::activations()[i]);
}

std::unique_ptr<Layer> make_dense(Tensors& tensors, const Shape& inputs) {
  return std::make_unique<layers::Dense>(tensors, inputs, "one", 17, 1.0);
}

// With activations at both ends and in between, since these may overwrite what is below them.
std::unique_ptr<Layer> make_sequence(Tensors& tensors, const Shape& inputs) {
  auto sequence = std::make_unique<Sequence>(inputs);
  sequence->add<layers::Activation>(tensors, kernels::activations()[1]);
  sequence->add<layers::Dense>(tensors, "one", 33, 1.0);
  sequence->add<layers::Activation>(tensors, kernels::activations()[1]);
  sequence->add<layers::Activation>(tensors, kernels::activations()[2]);
  sequence->add<layers::Dense>(tensors, "two", 4, 1.0);
  sequence->add<layers::Activation>(tensors, kernels::activations()[3]);
  return sequence;
}

struct Row {
  const char* name;
  Shape inputs;
  std::unique_ptr<Layer> (*make)(Tensors& tensors, const Shape& inputs);
};

const std::array<Row, 7> kLayers = {{
    {"dense", {5}, make_dense},
    {"dense of an image", {3, 4}, make_dense},
    {"activation 0", {5}, make_activation<0>},
    {"activation 1", {5}, make_activation<1>},
    {"activation 2", {5}, make_activation<2>},
    {"activation 3", {5}, make_activation<3>},
    {"sequence", {5}, make_sequence},
}};

Matrix matrix(std::size_t rows, std::size_t columns, std::uint64_t seed) {
  const Vector values = test::random_vector(rows * columns, 1.0, seed);
  return ConstMatrixView(values.data(), static_cast<Index>(rows), static_cast<Index>(columns));
}
ConstMatrixView constant(const Matrix& m) { return {m.data(), m.rows(), m.cols()}; }
MatrixView view(Matrix& m) { return {m.data(), m.rows(), m.cols()}; }

struct Result {
  Matrix y, dx;
  Vector gradient;
};

// A layer with weights, inputs x, and errors of its outputs: the gradient is that of Σ errors ∘ y.
struct Problem {
  explicit Problem(const Row& row, const std::set<std::string>& frozen_layers = {})
      : tensors(frozen_layers),
        layer(row.make(tensors, row.inputs)),
        trained(test::random_vector(tensors.trained().size(), 0.5, 3)),
        frozen(test::random_vector(tensors.frozen().size(), 0.5, 3)),
        x(matrix(elements_of(row.inputs, ""), kRows, 1)),
        errors(matrix(layer->width(), kRows, 2)) {
    for (float& value : x.reshaped()) value += value > 0.0F ? 0.3F : -0.3F;  // away from the kink of the ReLU
  }

  Vector scratch(Index n) const { return Vector(static_cast<std::size_t>(n) * layer->scratch(), NAN); }

  Matrix outputs(const Weights& w, const ConstMatrixView& in) const {
    Matrix y = Matrix::Constant(static_cast<Index>(layer->width()), in.cols(), NAN);
    Vector memory = scratch(in.cols());
    layer->forward(w, in, view(y), memory);
    return y;
  }

  // Of some of the rows, from memory that holds no numbers.
  Result run(Index first = 0, Index n = Index{kRows}) const {
    const Matrix in = x.middleCols(first, n);
    Matrix dy = errors.middleCols(first, n);
    Result r{Matrix::Constant(dy.rows(), n, NAN), Matrix::Constant(in.rows(), n, NAN), Vector(trained.size(), NAN)};
    Vector memory = scratch(n);
    layer->forward({trained, frozen}, constant(in), view(r.y), memory);
    layer->backward({trained, frozen}, constant(in), view(dy), view(r.dx), {r.gradient, {}}, memory);
    return r;
  }

  double value(const Weights& w, const ConstMatrixView& in) const {
    return outputs(w, in).cast<double>().cwiseProduct(errors.cast<double>()).sum();
  }

  Tensors tensors;
  std::unique_ptr<Layer> layer;
  Vector trained, frozen;
  Matrix x, errors;
};

// Compares `gradient` with the differences of f along itself and along random directions of length 1.
void expect_gradient(const std::function<double(std::span<const float>)>& f, std::span<const float> x,
                     std::span<const float> gradient) {
  Stream stream(5, Purpose::generate);
  double size = 0.0;
  for (const float g : gradient) size += double{g} * double{g};
  size = std::sqrt(size);
  ASSERT_GT(size, 0.1) << "a gradient this small shows nothing";
  for (int attempt = 0; attempt < 5; ++attempt) {
    std::vector<double> direction(x.size());
    double length = 0.0, expected = 0.0;
    for (std::size_t j = 0; j < x.size(); ++j) {
      direction[j] = attempt == 0 ? double{gradient[j]} : stream.normal();
      length += direction[j] * direction[j];
    }
    for (std::size_t j = 0; j < x.size(); ++j) {
      direction[j] /= std::sqrt(length);
      expected += direction[j] * double{gradient[j]};
    }
    EXPECT_NEAR(test::derivative_along(f, x, direction), expected, 2e-3 * size);
  }
}

std::span<const float> all(const Matrix& m) { return {m.data(), static_cast<std::size_t>(m.size())}; }

class EveryLayer : public testing::TestWithParam<Row> {};
INSTANTIATE_TEST_SUITE_P(Layers, EveryLayer, testing::ValuesIn(kLayers));
void PrintTo(const Row& row, std::ostream* out) { *out << row.name; }

TEST(Activations, AreAllHere) { EXPECT_EQ(kernels::activations().size(), 4u); }

TEST_P(EveryLayer, HasTheGradientOfItsInputs) {
  const Problem p(GetParam());
  const auto f = [&](std::span<const float> at) {
    return p.value({p.trained, p.frozen}, {at.data(), p.x.rows(), p.x.cols()});
  };
  expect_gradient(f, all(p.x), all(p.run().dx));
}

TEST_P(EveryLayer, HasTheGradientOfItsWeights) {
  const Problem p(GetParam());
  const Vector gradient = p.run().gradient;
  const Layout& layout = p.tensors.trained();
  for (std::size_t i = 0; i < layout.tensors().size(); ++i) {
    SCOPED_TRACE(layout.tensors()[i].path());
    const auto f = [&](std::span<const float> at) {
      Vector w = p.trained;
      std::copy(at.begin(), at.end(), layout.part(std::span(w), i).begin());
      return p.value({w, p.frozen}, constant(p.x));
    };
    expect_gradient(f, layout.part(std::span<const float>(p.trained), i),
                    layout.part(std::span<const float>(gradient), i));
  }
}

TEST_P(EveryLayer, HasTheSameBitsForARowInAnyBatch) {
  const Problem p(GetParam());
  const Result together = p.run();
  for (Index i = 0; i < Index{kRows}; ++i) {
    const Result alone = p.run(i, 1);
    EXPECT_EQ(together.y.col(i), alone.y.col(0));
    EXPECT_EQ(together.dx.col(i), alone.dx.col(0));
  }
}

// Two batches of different sizes through one scratch, with the larger before and after.
TEST_P(EveryLayer, ForgetsWhatItsScratchHeld) {
  const Problem p(GetParam());
  Vector memory = p.scratch(Index{kRows});
  const auto run = [&](Index n) {
    const Matrix in = p.x.leftCols(n);
    Matrix dy = p.errors.leftCols(n);
    Result r{Matrix(dy.rows(), n), Matrix(in.rows(), n), Vector(p.trained.size())};
    p.layer->forward({p.trained, p.frozen}, constant(in), view(r.y), memory);
    p.layer->backward({p.trained, p.frozen}, constant(in), view(dy), view(r.dx), {r.gradient, {}}, memory);
    return r;
  };
  for (const Index n : {Index{kRows}, Index{3}, Index{kRows}}) {
    const Result used = run(n), fresh = p.run(0, n);
    EXPECT_EQ(used.y, fresh.y);
    EXPECT_EQ(used.dx, fresh.dx);
    EXPECT_EQ(used.gradient, fresh.gradient);
  }
}

TEST_P(EveryLayer, ComputesTheSameWhereItMayOverwrite) {
  const Problem p(GetParam());
  if (!p.layer->may_overwrite()) return;
  const Result apart = p.run();
  Matrix values = p.x, errors = p.errors;
  Vector gradient(p.trained.size()), memory = p.scratch(Index{kRows});
  p.layer->forward({p.trained, p.frozen}, constant(values), view(values), memory);
  EXPECT_EQ(values, apart.y);
  values.setConstant(NAN);  // the layer above may overwrite it too
  p.layer->backward({p.trained, p.frozen}, constant(values), view(errors), view(errors), {gradient, {}}, memory);
  EXPECT_EQ(errors, apart.dx);
  EXPECT_EQ(gradient, apart.gradient);
}

TEST_P(EveryLayer, MayStepInPlace) {
  const Problem p(GetParam());
  const Result apart = p.run();
  Vector w = p.trained, memory = p.scratch(Index{kRows});
  Result r{Matrix(apart.y.rows(), apart.y.cols()), Matrix(p.x.rows(), p.x.cols()), {}};
  Matrix dy = p.errors;
  p.layer->forward({w, p.frozen}, constant(p.x), view(r.y), memory);
  p.layer->backward({w, p.frozen}, constant(p.x), view(dy), view(r.dx), {w, w}, memory);
  EXPECT_EQ(r.dx, apart.dx);
  for (std::size_t j = 0; j < w.size(); ++j) EXPECT_EQ(w[j], p.trained[j] + apart.gradient[j]);
}

TEST_P(EveryLayer, AddsTheSameWhereNobodyWantsTheErrorsOfItsInputs) {
  const Problem p(GetParam());
  Matrix y(p.errors.rows(), p.errors.cols()), dy = p.errors;
  Vector gradient(p.trained.size(), NAN), memory = p.scratch(Index{kRows});
  p.layer->forward({p.trained, p.frozen}, constant(p.x), view(y), memory);
  p.layer->backward({p.trained, p.frozen}, constant(p.x), view(dy), {nullptr, p.x.rows(), p.x.cols()}, {gradient, {}},
                    memory);
  EXPECT_EQ(gradient, p.run().gradient);
}

TEST_P(EveryLayer, IsTheSameFunctionOfFrozenWeights) {
  const Problem p(GetParam());
  std::set<std::string> names;
  for (const Tensor& t : p.tensors.trained().tensors()) names.insert(t.layer);
  const Problem f(GetParam(), names);
  ASSERT_EQ(f.tensors.trained().size(), 0u);
  ASSERT_EQ(f.frozen, p.trained);
  const Result frozen = f.run(), trained = p.run();
  EXPECT_EQ(frozen.y, trained.y);
  EXPECT_EQ(frozen.dx, trained.dx);

  Vector drawn(p.trained.size(), NAN), drawn_frozen(p.trained.size(), NAN);
  Stream stream(1, Purpose::initialise), again(1, Purpose::initialise);
  p.layer->initialise(stream, drawn, {});
  f.layer->initialise(again, {}, drawn_frozen);
  EXPECT_EQ(drawn, drawn_frozen);
  EXPECT_TRUE(drawn.empty() || std::isfinite(drawn.back()));
}

// Hands its rows on, and counts how often it is asked for errors, and for those of its inputs.
struct Counts {
  int backward = 0, wanted = 0;
};
class Spy : public Layer {
 public:
  Spy(Tensors& /*tensors*/, const Shape& inputs, Counts& counts) : Layer(inputs), counts_(counts) {}

  void forward(const Weights& /*w*/, const ConstMatrixView& x, MatrixView y, std::span<float>) const override { y = x; }
  void backward(const Weights& /*w*/, const ConstMatrixView& /*x*/, MatrixView dy, MatrixView dx,
                const Accumulator& /*sum*/, std::span<float> /*scratch*/) const override {
    ++counts_.backward;
    if (dx.data() == nullptr) return;
    ++counts_.wanted;
    dx = dy;
  }

 private:
  Counts& counts_;
};

TEST(Sequence, GoesNoDeeperThanThereIsSomethingToTrain) {
  Counts bottom, middle, top;
  Tensors tensors({"one"});
  Sequence sequence({4});
  sequence.add<Spy>(tensors, bottom);
  sequence.add<layers::Dense>(tensors, "one", 6, 1.0);
  sequence.add<Spy>(tensors, middle);
  sequence.add<layers::Dense>(tensors, "two", 3, 1.0);
  sequence.add<Spy>(tensors, top);
  const Vector trained = test::random_vector(tensors.trained().size());
  const Vector frozen = test::random_vector(tensors.frozen().size());
  const Matrix x = matrix(4, kRows, 1);
  Matrix y(3, Index{kRows}), dx(4, Index{kRows});
  Vector scratch(kRows * sequence.scratch()), gradient(trained.size()), again(trained.size());
  const auto run = [&](MatrixView errors_below, Vector& sum) {
    Matrix dy = matrix(3, kRows, 2);
    sequence.forward({trained, frozen}, constant(x), view(y), scratch);
    sequence.backward({trained, frozen}, constant(x), view(dy), errors_below, {sum, {}}, scratch);
  };
  run({nullptr, 4, Index{kRows}}, gradient);
  EXPECT_EQ(top.wanted, 1);
  EXPECT_EQ(middle.backward, 0);
  EXPECT_EQ(bottom.backward, 0);
  run(view(dx), again);
  EXPECT_EQ(top.wanted, 2);
  EXPECT_EQ(middle.wanted, 1);
  EXPECT_EQ(bottom.wanted, 1);
  EXPECT_EQ(again, gradient);
}

// Matrices begin at a cache line for any number of rows, so that equal sums have equal bits.
TEST(Sequence, TakesWholeCacheLines) {
  Counts counts;
  Tensors tensors;
  Sequence sequence({3});
  for (int i = 0; i < 5; ++i) {
    sequence.add<Spy>(tensors, counts);
    EXPECT_EQ(sequence.scratch() % (kAlignment / sizeof(float)), 0u);
  }
}

}  // namespace
}  // namespace fedmpi::model
