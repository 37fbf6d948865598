// A step of local training against its formula in double.
#include "client/host_local.hpp"

#include <gtest/gtest.h>

#include <cmath>
#include <numeric>

#include "support/examples.hpp"

namespace fedmpi::client {
namespace {

struct Case {
  const char* name;
  double l2 = 0.0;
  Step step = {.lr = 0.1F};
  bool shifted = false;
};

const std::vector<Case> kCases = {
    {"plain"},
    {"l2", 0.05},
    {"momentum", 0.0, {.lr = 0.1F, .momentum = 0.8F}},
    {"decay", 0.0, {.lr = 0.1F, .decay = 0.3F}},
    {"proximal", 0.0, {.lr = 0.1F, .proximal = 0.7F}},
    {"shifted", 0.0, {.lr = 0.1F}, true},
    {"all", 0.05, {.lr = 0.1F, .momentum = 0.5F, .decay = 0.1F, .proximal = 0.4F}, true},
};

// As many numbers as the model has, so that tiles of the step's loop are crossed.
struct Setting {
  explicit Setting(double l2)
      : model(model::make({.kind = "mlp", .hidden = {300}, .activation = "tanh", .l2 = l2}, schema)) {}

  data::Schema schema = test::classification(6, 3);
  std::unique_ptr<model::Model> model;
  data::Dataset dataset = data::Dataset({test::random_block(schema, {300})});
  std::size_t d = model->layout().size();
  Vector global = test::random_vector(d, 0.5), plus = test::random_vector(d, 0.1, 2),
         minus = test::random_vector(d, 0.1, 3);
  std::vector<std::uint32_t> rows = std::vector<std::uint32_t>(300);

  Setting(const Setting&) = delete;

  // Steps of 20 and of 200 examples, of which the second takes two blocks.
  std::span<const std::uint32_t> listed(std::size_t i) const {
    return std::span(rows).subspan(i * 20, i % 2 == 0 ? 20 : 200);
  }

  Vector gradient(const std::vector<double>& at, std::span<const std::uint32_t> examples) const {
    const Vector w(at.begin(), at.end());
    data::BatchBuffer buffer(schema, examples.size());
    Vector g(d);
    model->add_gradient(w, dataset.blocks()[0].gather(0, examples, buffer), 1.0F / static_cast<float>(examples.size()),
                        {g, {}}, *model->workspace(examples.size()));
    model->add_penalty_gradient(w, g);
    return g;
  }

  std::vector<double> expected(const Case& c, std::size_t steps) const {
    std::vector<double> w(global.begin(), global.end()), v(d);
    for (std::size_t i = 0; i < steps; ++i) {
      const Vector g = gradient(w, listed(i));
      for (std::size_t j = 0; j < d; ++j) {
        const double shift = c.shifted ? double{plus[j]} - double{minus[j]} : 0.0;
        v[j] = double{c.step.momentum} * v[j] + double{g[j]} + double{c.step.decay} * w[j] +
               double{c.step.proximal} * (w[j] - double{global[j]}) + shift;
        w[j] -= double{c.step.lr} * v[j];
      }
    }
    for (std::size_t j = 0; j < d; ++j) w[j] -= double{global[j]};
    return w;
  }

  Vector found(const Case& c, std::size_t steps, bool announced, HostLocal& local) const {
    Step step = c.step;
    if (c.shifted) step.plus = plus, step.minus = minus;
    Vector update(d, NAN);
    local.start(global, update, announced ? steps : 0);
    for (std::size_t i = 0; i < steps; ++i) {
      const model::Score score = local.step(dataset.client(0), listed(i), step);
      EXPECT_EQ(score.count, static_cast<double>(listed(i).size()));
    }
    local.finish();
    return update;
  }
};

TEST(HostLocal, StepsByTheFormula) {
  for (const Case& c : kCases) {
    Setting s(c.l2);
    std::iota(s.rows.begin(), s.rows.end(), 0U);
    HostLocal local(*s.model, s.schema, 300);
    for (const std::size_t steps : {0u, 1u, 2u, 5u}) {
      const std::vector<double> expected = s.expected(c, steps);
      for (const bool announced : {true, false}) {
        const Vector found = s.found(c, steps, announced, local);
        double worst = 0.0;
        for (std::size_t j = 0; j < s.d; ++j) worst = std::max(worst, std::abs(double{found[j]} - expected[j]));
        EXPECT_LT(worst, 2e-6) << c.name << ", " << steps << " steps, announced " << announced;
      }
    }
  }
}

// What the memory plan counts on.
TEST(HostLocal, HoldsNoMoreVectorsThanItSays) {
  const Setting plain(0.0), penalised(0.05);
  const Step step = {.lr = 0.1F}, momentum = {.lr = 0.1F, .momentum = 0.9F};
  EXPECT_EQ(HostLocal::vectors(*plain.model, step, {5, 20}, 128), 0u);
  EXPECT_EQ(HostLocal::vectors(*plain.model, step, {5, 200}, 128), 1u);
  EXPECT_EQ(HostLocal::vectors(*penalised.model, step, {5, 20}, 128), 1u);
  EXPECT_EQ(HostLocal::vectors(*plain.model, momentum, {5, 20}, 128), 2u);
  EXPECT_EQ(HostLocal::vectors(*penalised.model, momentum, {1, 300}, 128), 0u);
}

}  // namespace
}  // namespace fedmpi::client
