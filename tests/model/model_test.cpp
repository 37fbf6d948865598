#include "model/model.hpp"

#include <gtest/gtest.h>

#include <cmath>

#include "model/kernels/activations.hpp"
#include "support/examples.hpp"
#include "support/expect_error.hpp"

namespace fedmpi::model {
namespace {

using test::classification;
using test::expect_error;
using test::regression;

std::vector<std::size_t> hidden_of(std::initializer_list<std::size_t> widths) { return widths; }

TEST(Model, NamesAndShapesItsTensorsAsFilesShowThem) {
  const auto mlp = make({.kind = "mlp", .hidden = {20, 30}}, classification(7, 4));
  const auto& tensors = mlp->layout().tensors();
  ASSERT_EQ(tensors.size(), 6u);
  EXPECT_EQ(tensors[2].layer, "dense_2");
  EXPECT_EQ(tensors[2].name, "kernel");
  EXPECT_EQ(tensors[2].shape, hidden_of({20, 30}));
  EXPECT_EQ(tensors[5].name, "bias");
  EXPECT_EQ(tensors[5].shape, hidden_of({4}));
  EXPECT_EQ(mlp->layout().size(), 7u * 20 + 20 + 20 * 30 + 30 + 30 * 4 + 4);

  EXPECT_EQ(make({.kind = "logistic"}, classification(7, 2))->layout().size(), 8u);
  EXPECT_EQ(make({.kind = "softmax"}, classification(7, 3))->layout().size(), 24u);
  EXPECT_EQ(make({.kind = "linear"}, regression(7, 2))->layout().size(), 16u);
}

// The weights of one output lie next to each other in the vector.
TEST(Model, PassesForwardLayerByLayer) {
  constexpr std::size_t kIn = 3, kHidden = 4, kOut = 2, kRows = 5;
  const data::Schema schema = regression(kIn, kOut);
  const auto model = make({.kind = "mlp", .hidden = {kHidden}, .activation = "tanh"}, schema);
  const data::Block block = test::random_block(schema, {kRows});
  const Vector w = test::random_vector(model->layout().size());
  double loss = 0.0;
  for (std::size_t i = 0; i < kRows; ++i) {
    const float *first = w.data(), *first_bias = first + kIn * kHidden, *second = first_bias + kHidden,
                *second_bias = second + kHidden * kOut;
    std::array<double, kHidden> h{};
    for (std::size_t o = 0; o < kHidden; ++o) {
      h[o] = first_bias[o];
      for (std::size_t k = 0; k < kIn; ++k) h[o] += double{block.numbers[i * kIn + k]} * double{first[o * kIn + k]};
      h[o] = std::tanh(h[o]);
    }
    for (std::size_t o = 0; o < kOut; ++o) {
      double error = double{second_bias[o]} - double{block.targets[i * kOut + o]};
      for (std::size_t k = 0; k < kHidden; ++k) error += h[k] * double{second[o * kHidden + k]};
      loss += 0.5 * error * error;
    }
  }
  data::BatchBuffer buffer(schema, kRows);
  const Score score = model->evaluate(w, block.gather(0, kRows, buffer), *model->workspace(kRows));
  EXPECT_NEAR(score.loss, loss, 1e-5 * loss);
  EXPECT_NEAR(score.metric, 2.0 * loss, 2e-5 * loss);
}

TEST(Model, PenalisesKernelsAndNotBiases) {
  const auto model = make({.kind = "linear", .l2 = 0.5}, regression(3, 2));
  const Vector ones(model->layout().size(), 1.0F);
  EXPECT_DOUBLE_EQ(model->penalty(ones), 0.5 * 0.5 * 6);
  EXPECT_EQ(make({.kind = "linear"}, regression(3, 2))->penalty(ones), 0.0);
}

TEST(Model, StartsWithTheVarianceThatKeepsTheSignal) {
  for (const kernels::Activation& activation : kernels::activations()) {
    const auto model =
        make({.kind = "mlp", .hidden = {100, 150}, .activation = activation.name}, classification(200, 50));
    Vector w(model->layout().size(), 7.0F);
    Stream stream(1, Purpose::initialise);
    model->initialise(stream, w);
    for (const Tensor& t : model->layout().tensors()) {
      double mean = 0.0, square = 0.0;
      for (std::size_t i = t.offset; i < t.offset + t.size(); ++i) {
        mean += w[i];
        square += double{w[i]} * double{w[i]};
      }
      const double n = static_cast<double>(t.size());
      mean /= n;
      square /= n;
      const double gain = t.layer == "dense_3" ? 1.0 : double{activation.gain};
      const double variance = t.name == "bias" ? 0.0 : gain / static_cast<double>(t.shape[0]);
      EXPECT_NEAR(square, variance, 5 * std::sqrt(2 / n) * variance) << activation.name << " " << t.layer << t.name;
      EXPECT_NEAR(mean, 0.0, 5 * std::sqrt(variance / n)) << activation.name << " " << t.layer << t.name;
    }
  }
}

TEST(Model, StartsConvexProblemsAtZero) {
  for (const char* kind : {"linear", "logistic", "softmax"}) {
    const auto model = make({.kind = kind}, classification(5, 2));
    Vector w(model->layout().size(), 7.0F);
    Stream stream(1, Purpose::initialise);
    model->initialise(stream, w);
    EXPECT_EQ(w, Vector(w.size())) << kind;
  }
}

TEST(Model, RefusesWhatCannotWork) {
  const auto refused = [](const Options& options, const data::Schema& schema, std::vector<std::string> parts) {
    expect_error(ExitCode::usage, parts, [&] { make(options, schema); });
  };
  refused({.kind = "forest"}, classification(3, 2), {"model.kind", "forest", "softmax"});
  refused({.kind = "mlp", .activation = "step"}, classification(3, 2), {"model.activation", "step", "relu"});
  refused({.kind = "mlp", .loss = "hinge"}, classification(3, 2), {"model.loss", "hinge", "squared"});
  refused({.kind = "mlp", .hidden = {20, 0}}, classification(3, 2), {"model.hidden", "0"});
  refused({.l2 = -1.0}, classification(3, 2), {"model.l2", "-1"});
  refused({.l2 = std::nan("")}, classification(3, 2), {"model.l2", "nan"});
  refused({.l2 = HUGE_VAL}, classification(3, 2), {"model.l2", "inf"});
  refused({.kind = "logistic"}, classification(3, 5), {"two classes", "5"});
  refused({.kind = "logistic"}, regression(3, 1), {"two classes", "regression"});
  refused({.kind = "softmax"}, regression(3, 1), {"needs classes"});
  refused({.kind = "mlp", .loss = "cross-entropy"}, regression(3, 1), {"cross-entropy", "regression"});
  refused({.kind = "softmax", .loss = "squared"}, classification(3, 2), {"softmax", "squared"});
  refused({.kind = "mlp", .hidden = {3}, .freeze = "dense_1,dense_7"}, classification(3, 2),
          {"model.freeze", "'dense_7'", "dense_1, dense_2"});
  refused({.kind = "mlp", .hidden = {3}, .freeze = "dense_2,dense_1"}, classification(3, 2),
          {"model.freeze", "left to train", "dense_1, dense_2"});
  refused({.kind = "softmax", .freeze = "dense_1"}, classification(3, 2), {"model.freeze", "left to train"});
}

// Before anything is allocated.
TEST(Model, RefusesSizesThatCannotBeCounted) {
  constexpr std::size_t kHuge = std::size_t{1} << 58;
  for (const auto& hidden : {hidden_of({kHuge << 4}), hidden_of({5, kHuge}), hidden_of({kHuge, kHuge})})
    expect_error(ExitCode::usage, {"2^61"}, [&] { make({.kind = "mlp", .hidden = hidden}, classification(50, 2)); });
  const auto model = make({.kind = "mlp", .hidden = {kHuge}}, classification(3, 2));
  EXPECT_GT(model->workspace_bytes(1), kHuge * sizeof(float));
  expect_error(ExitCode::usage, {"2^61"}, [&] { static_cast<void>(model->workspace_bytes(128)); });
  expect_error(ExitCode::usage, {"2^61"}, [&] { model->workspace(128); });
}

}  // namespace
}  // namespace fedmpi::model
