// What holds for every model: each kind with each loss and activation that model::make() accepts, on each task.
#include <fmt/format.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <functional>
#include <set>

#include "base/error.hpp"
#include "model/kernels/activations.hpp"
#include "model/kernels/losses.hpp"
#include "model/model.hpp"
#include "support/derivative.hpp"
#include "support/examples.hpp"

namespace fedmpi::model {
namespace {

constexpr std::size_t kExamples = 7;

struct Case {
  std::string name;
  Options options;
  data::Schema schema;
};

std::vector<Case> accepted_cases() {
  std::vector<std::string> losses = {"auto"};
  for (const kernels::Loss& loss : kernels::losses()) losses.emplace_back(loss.name);
  const std::vector<data::Schema> schemas = {test::classification(4, 2), test::classification(4, 3),
                                             test::regression(4, 1), test::regression(4, 2)};
  std::vector<Case> cases;
  for (const Kind& kind : kinds())
    for (const std::string& loss : losses)
      for (const kernels::Activation& activation : kernels::activations())
        for (const std::string freeze : {"", "dense_1", "dense_2", "dense_1,dense_3"})
          for (std::size_t s = 0; s < schemas.size(); ++s) {
            const Options options{kind.name, {5, 3}, activation.name, loss, 0.01, freeze};
            try {
              make(options, schemas[s]);
            } catch (const Error&) {
              continue;
            }
            cases.push_back({fmt::format("{} {} {} freeze {} schema {}", kind.name, loss, activation.name, freeze, s),
                             options, schemas[s]});
          }
  return cases;
}

// The tensors of `layout` out of a vector of all of the model's.
Vector part_of(const Vector& all, const Layout& of_all, const Layout& layout) {
  Vector part(layout.size());
  for (std::size_t i = 0; i < layout.tensors().size(); ++i)
    for (std::size_t j = 0; j < of_all.tensors().size(); ++j)
      if (layout.tensors()[i].path() == of_all.tensors()[j].path())
        std::ranges::copy(of_all.part(std::span(all), j), layout.part(std::span(part), i).begin());
  return part;
}

std::unique_ptr<Model> unfrozen(const Case& c) {
  Options options = c.options;
  options.freeze.clear();
  return make(options, c.schema);
}

// Of the model with nothing frozen. Small kernels and biases of ±1 keep the hidden units away from the kink of the
// ReLU, a large last kernel sends large errors back to them.
Vector all_weights(const Layout& layout) {
  Vector all = test::random_vector(layout.size(), 0.15);
  for (const Tensor& t : layout.tensors())
    for (std::size_t i = 0; i < t.size(); ++i) {
      float& w = all[t.offset + i];
      if (t.name == "bias") w += i % 2 == 0 ? 1.0F : -1.0F;
      if (t.name == "kernel" && t.layer == layout.tensors().back().layer) w *= 6.0F;
    }
  return all;
}

struct Problem {
  explicit Problem(const Case& c)
      : model(make(c.options, c.schema)),
        block(test::random_block(c.schema, {kExamples})),
        buffer(c.schema, kExamples),
        workspace(model->workspace(kExamples)) {
    const Layout layout = unfrozen(c)->layout();
    parameters = part_of(all_weights(layout), layout, model->layout());
    frozen = part_of(all_weights(layout), layout, model->frozen());
  }

  data::Batch batch(std::size_t first = 0, std::size_t count = kExamples) { return block.gather(first, count, buffer); }
  Weights weights(std::span<const float> at) const { return {at, frozen}; }
  double loss(std::span<const float> at) { return model->evaluate(weights(at), batch(), *workspace).loss; }
  Vector gradient() {
    Vector g(parameters.size());
    model->add_gradient(weights(parameters), batch(), 1.0F, {g, {}}, *workspace);
    return g;
  }

  std::unique_ptr<Model> model;
  data::Block block;
  data::BatchBuffer buffer;
  std::unique_ptr<Workspace> workspace;
  Vector parameters, frozen;
};

// Compares `gradient` with the differences of `f` in each tensor on its own, along the gradient and along random
// directions of length 1.
void expect_gradient(const Layout& layout, const std::function<double(std::span<const float>)>& f, const Vector& x,
                     const Vector& gradient, const std::set<std::string>& tensors) {
  Stream stream(3, Purpose::generate);
  for (const Tensor& t : layout.tensors()) {
    if (!tensors.contains(t.name)) continue;
    SCOPED_TRACE(t.layer + "/" + t.name);
    double size = 0.0;
    for (std::size_t j = t.offset; j < t.offset + t.size(); ++j) size += double{gradient[j]} * double{gradient[j]};
    size = std::sqrt(size);
    ASSERT_GT(size, 1e-3) << "a gradient this small shows nothing";
    for (int attempt = 0; attempt < 4; ++attempt) {
      std::vector<double> direction(x.size());
      double length = 0.0;
      for (std::size_t j = t.offset; j < t.offset + t.size(); ++j) {
        direction[j] = attempt == 0 ? double{gradient[j]} : stream.normal();
        length += direction[j] * direction[j];
      }
      double expected = 0.0;
      for (std::size_t j = 0; j < x.size(); ++j) {
        direction[j] /= std::sqrt(length);
        expected += direction[j] * double{gradient[j]};
      }
      EXPECT_NEAR(test::derivative_along(f, x, direction), expected, 5e-3 * size + 3e-5);
    }
  }
}

TEST(EveryModel, IsAcceptedOnceAtLeast) {
  std::set<std::string> kinds_seen, losses_seen, activations_seen;
  for (const Case& c : accepted_cases()) {
    kinds_seen.insert(c.options.kind);
    losses_seen.insert(c.options.loss);
    activations_seen.insert(c.options.activation);
  }
  EXPECT_EQ(kinds_seen.size(), kinds().size());
  EXPECT_EQ(losses_seen.size(), kernels::losses().size() + 1);
  EXPECT_EQ(activations_seen.size(), kernels::activations().size());
}

TEST(EveryModel, HasTheGradientOfItsLoss) {
  for (const Case& c : accepted_cases()) {
    SCOPED_TRACE(c.name);
    Problem p(c);
    expect_gradient(p.model->layout(), [&](auto at) { return p.loss(at); }, p.parameters, p.gradient(),
                    {"kernel", "bias"});
  }
}

TEST(EveryModel, HasTheGradientOfItsPenalty) {
  for (Case c : accepted_cases()) {
    SCOPED_TRACE(c.name);
    c.options.l2 = 0.7;
    Problem p(c);
    Vector gradient(p.parameters.size());
    p.model->add_penalty_gradient(p.parameters, gradient);
    expect_gradient(p.model->layout(), [&](auto at) { return p.model->penalty(at); }, p.parameters, gradient,
                    {"kernel"});
    for (const Tensor& t : p.model->layout().tensors())
      for (std::size_t i = 0; i < t.size() && t.name == "bias"; ++i) EXPECT_EQ(gradient[t.offset + i], 0.0F);
  }
}

TEST(EveryModel, EvaluatesToTheScoreOfItsGradient) {
  for (const Case& c : accepted_cases()) {
    SCOPED_TRACE(c.name);
    Problem p(c);
    Vector gradient(p.parameters.size());
    const Score trained = p.model->add_gradient(p.weights(p.parameters), p.batch(), 0.5F, {gradient, {}}, *p.workspace);
    const Score evaluated = p.model->evaluate(p.weights(p.parameters), p.batch(), *p.workspace);
    EXPECT_EQ(trained.loss, evaluated.loss);
    EXPECT_EQ(trained.metric, evaluated.metric);
    EXPECT_GT(evaluated.loss, 0.0);
  }
}

TEST(EveryModel, AddsWeightedGradientsOverTheParts) {
  for (const Case& c : accepted_cases()) {
    SCOPED_TRACE(c.name);
    Problem p(c);
    const Vector whole = p.gradient();
    Vector parts(whole.size(), 1.0F);  // what was there stays
    Score score = p.model->add_gradient(p.weights(p.parameters), p.batch(0, 3), 0.25F, {parts, parts}, *p.workspace);
    score +=
        p.model->add_gradient(p.weights(p.parameters), p.batch(3, kExamples - 3), 0.25F, {parts, parts}, *p.workspace);
    for (std::size_t j = 0; j < whole.size(); ++j) EXPECT_NEAR(parts[j], 1.0F + 0.25F * whole[j], 2e-6F);
    EXPECT_NEAR(score.loss, p.loss(p.parameters), 1e-5);
  }
}

// Steps of SGD with no gradient held anywhere: from one model to another, in place, and less where it began.
TEST(EveryModel, AddsUpWhereItIsTold) {
  constexpr float kStep = -0.3F;
  for (const Case& c : accepted_cases()) {
    SCOPED_TRACE(c.name);
    Problem p(c);
    const Vector& start = p.parameters;
    const Vector gradient = p.gradient();
    const std::size_t d = start.size();
    Vector step(d, 7.0F), w(d, 7.0F), in_place = start, change = start;
    p.model->add_gradient(p.weights(start), p.batch(), kStep, {step, {}}, *p.workspace);
    p.model->add_gradient(p.weights(start), p.batch(), kStep, {w, start}, *p.workspace);
    p.model->add_gradient(p.weights(in_place), p.batch(), kStep, {in_place, in_place}, *p.workspace);
    p.model->add_gradient(p.weights(change), p.batch(), kStep, {change, change, start}, *p.workspace);
    for (std::size_t j = 0; j < d; ++j) {
      EXPECT_NEAR(step[j], kStep * gradient[j], 2e-6F);
      EXPECT_EQ(w[j], start[j] + step[j]);
      EXPECT_EQ(in_place[j], w[j]);
      EXPECT_EQ(change[j], w[j] - start[j]);
    }
  }
}

// Freezing takes layers out of what is trained, and nothing else changes.
TEST(EveryModel, IsWithFrozenLayersAPartOfItself) {
  for (const Case& c : accepted_cases()) {
    SCOPED_TRACE(c.name);
    Problem p(c);
    const auto whole = unfrozen(c);
    const Layout& layout = whole->layout();
    EXPECT_EQ(whole->frozen().size(), 0u);
    EXPECT_EQ(layout.size(), p.model->layout().size() + p.model->frozen().size());

    Vector all(layout.size(), NAN), trained(p.parameters.size(), NAN), frozen(p.frozen.size(), NAN);
    Stream stream(1, Purpose::initialise), again(1, Purpose::initialise);
    whole->initialise(stream, all);
    p.model->initialise(again, trained, frozen);
    EXPECT_EQ(trained, part_of(all, layout, p.model->layout()));
    EXPECT_EQ(frozen, part_of(all, layout, p.model->frozen()));

    Vector gradient(layout.size());
    const Score score =
        whole->add_gradient(all_weights(layout), p.batch(), 1.0F, {gradient, {}}, *whole->workspace(kExamples));
    EXPECT_EQ(p.gradient(), part_of(gradient, layout, p.model->layout()));
    EXPECT_EQ(p.loss(p.parameters), score.loss);
  }
}

// Of a row, whatever the other rows are; a score adds those of the rows up.
TEST(EveryModel, GivesAnExampleTheSameLossInAnyBatch) {
  for (const Case& c : accepted_cases()) {
    SCOPED_TRACE(c.name);
    Problem p(c);
    const auto score = [&](std::size_t first, std::size_t n) {
      return p.model->evaluate(p.weights(p.parameters), p.batch(first, n), *p.workspace);
    };
    Score sum;
    for (std::size_t i = 0; i < kExamples; ++i) sum += score(i, 1);
    const Score together = score(0, kExamples);
    EXPECT_NEAR(sum.loss, together.loss, 1e-12 * together.loss);
    EXPECT_EQ(together.count, double{kExamples});
    EXPECT_EQ(sum.count, together.count);
  }
}

// Nothing in a workspace outlives a call: what was computed before does not matter.
TEST(EveryModel, ForgetsWhatItsWorkspaceHeld) {
  for (const Case& c : accepted_cases()) {
    SCOPED_TRACE(c.name);
    Problem p(c);
    const Vector first = p.gradient();
    const Vector elsewhere = test::random_vector(p.parameters.size(), 3.0);
    p.loss(elsewhere);
    EXPECT_EQ(p.gradient(), first);
  }
}

}  // namespace
}  // namespace fedmpi::model
