#include "server/optimizer.hpp"

#include <gtest/gtest.h>

#include <cmath>
#include <set>

#include "support/examples.hpp"
#include "support/expect_error.hpp"

namespace fedmpi::server {
namespace {

constexpr std::size_t kParameters = 37;

Vector update_of(std::uint64_t round) { return test::random_vector(kParameters, 0.1, round); }

// Rounds first … last from those parameters.
Vector stepped(Optimizer& optimizer, Vector parameters, std::uint64_t first, std::uint64_t last) {
  for (std::uint64_t round = first; round <= last; ++round) {
    Vector update = update_of(round);
    optimizer.step(round, update, parameters);
  }
  return parameters;
}

Options options_of(const Kind& kind) {
  return {.optimizer = kind.name, .lr = 0.3, .momentum = 0.8, .beta1 = 0.7, .beta2 = 0.95, .epsilon = 1e-2};
}

TEST(EveryOptimizer, GoesOnFromItsSavedState) {
  for (const Kind& kind : optimizers()) {
    SCOPED_TRACE(kind.name);
    const Options options = options_of(kind);
    const Vector start = test::random_vector(kParameters);
    const auto undisturbed = make(options, kParameters), before = make(options, kParameters),
               after = make(options, kParameters);
    const Vector expected = stepped(*undisturbed, start, 1, 6);

    const Vector half = stepped(*before, start, 1, 3);
    const std::vector<State> saved = before->state(), restored = after->state();
    ASSERT_EQ(saved.size(), restored.size());
    std::set<std::string> names;
    for (std::size_t i = 0; i < saved.size(); ++i) {
      names.insert(saved[i].name);
      EXPECT_EQ(saved[i].name, restored[i].name);
      EXPECT_EQ(saved[i].values->size(), kParameters);
      *restored[i].values = *saved[i].values;
    }
    EXPECT_EQ(names.size(), saved.size()) << "two states of one name";
    EXPECT_EQ(stepped(*after, half, 4, 6), expected);
    EXPECT_NE(half, expected);
  }
}

TEST(EveryOptimizer, FollowsTheUpdate) {
  for (const Kind& kind : optimizers()) {
    SCOPED_TRACE(kind.name);
    const auto optimizer = make(options_of(kind), kParameters);
    const Vector start = test::random_vector(kParameters), update = update_of(1);
    const Vector end = stepped(*optimizer, start, 1, 1);
    for (std::size_t j = 0; j < kParameters; ++j) EXPECT_GT((end[j] - start[j]) * update[j], 0.0F);
  }
}

TEST(Sgd, AddsTheUpdate) {
  const auto optimizer = make({.optimizer = "sgd", .lr = 0.5}, 2);
  Vector w = {1.0F, 2.0F}, update = {0.5F, -4.0F};
  optimizer->step(1, update, w);
  EXPECT_EQ(w, (Vector{1.25F, 0.0F}));
  const auto average = make({}, 2);  // the default: the clients' average
  average->step(1, update = {0.5F, -4.0F}, w);
  EXPECT_EQ(w, (Vector{1.75F, -4.0F}));
}

TEST(Momentum, IsItsFormula) {
  constexpr double lr = 0.3, beta = 0.8;
  const Vector start = test::random_vector(kParameters);
  const auto optimizer = make({.optimizer = "momentum", .lr = lr, .momentum = beta}, kParameters);
  const Vector w = stepped(*optimizer, start, 1, 8);
  for (std::size_t j = 0; j < kParameters; ++j) {
    double expected = start[j], v = 0.0;
    for (std::uint64_t round = 1; round <= 8; ++round) {
      v = beta * v + double{update_of(round)[j]};
      expected += lr * v;
    }
    EXPECT_NEAR(w[j], expected, 1e-6);
  }
}

TEST(Adam, IsItsFormula) {
  constexpr double lr = 0.02, b1 = 0.7, b2 = 0.95, epsilon = 1e-2;
  const Vector start = test::random_vector(kParameters);
  const auto optimizer =
      make({.optimizer = "adam", .lr = lr, .beta1 = b1, .beta2 = b2, .epsilon = epsilon}, kParameters);
  const Vector w = stepped(*optimizer, start, 1, 8);
  for (std::size_t j = 0; j < kParameters; ++j) {
    double expected = start[j], m = 0.0, v = 0.0;
    for (int t = 1; t <= 8; ++t) {
      const double g = update_of(static_cast<std::uint64_t>(t))[j];
      m = b1 * m + (1 - b1) * g;
      v = b2 * v + (1 - b2) * g * g;
      expected += lr * (m / (1 - std::pow(b1, t))) / (std::sqrt(v / (1 - std::pow(b2, t))) + epsilon);
    }
    EXPECT_NEAR(w[j], expected, 2e-6);
  }
}

// The first step of Adam is of length η in every coordinate, whatever the update's size.
TEST(Adam, StartsWithStepsOfTheLearningRate) {
  const auto optimizer = make({.optimizer = "adam", .lr = 0.25, .epsilon = 1e-12}, 3);
  Vector w = {0, 0, 0}, update = {1e-3F, -1.0F, 50.0F};
  optimizer->step(1, update, w);
  EXPECT_NEAR(w[0], 0.25F, 1e-6F);
  EXPECT_NEAR(w[1], -0.25F, 1e-6F);
  EXPECT_NEAR(w[2], 0.25F, 1e-6F);
}

TEST(Optimizer, RefusesBadOptions) {
  const auto refused = [](const Options& options, std::vector<std::string> parts) {
    test::expect_error(ExitCode::usage, parts, [&] { make(options, 3); });
  };
  refused({.optimizer = "adagram"}, {"server.optimizer", "adagram", "momentum"});
  refused({.lr = 0.0}, {"server.lr", "0"});
  refused({.lr = -1.0}, {"server.lr", "-1"});
  refused({.lr = std::nan("")}, {"server.lr", "nan"});
  refused({.lr = HUGE_VAL}, {"server.lr", "inf"});
  refused({.momentum = 1.0}, {"server.momentum", "1"});
  refused({.momentum = -0.1}, {"server.momentum", "-0.1"});
  refused({.beta1 = 1.0}, {"server.beta1"});
  refused({.beta2 = 1.5}, {"server.beta2", "1.5"});
  refused({.beta2 = std::nan("")}, {"server.beta2", "nan"});
  refused({.epsilon = 0.0}, {"server.epsilon", "0"});
  refused({.epsilon = HUGE_VAL}, {"server.epsilon", "inf"});
}

TEST(Optimizer, TakesItsOwnLearningRateWhereNoneIsGiven) {
  for (const Kind& kind : optimizers()) {
    const auto stepped = [&](std::optional<double> lr) {
      std::vector<float> update = {0.5F, -2.0F}, parameters = {1.0F, 1.0F};
      make({.optimizer = kind.name, .lr = lr}, 2)->step(1, update, parameters);
      return parameters;
    };
    EXPECT_EQ(stepped({}), stepped(kind.lr)) << kind.name;
    EXPECT_NE(stepped({}), stepped(2 * kind.lr)) << kind.name;
  }
}

}  // namespace
}  // namespace fedmpi::server
