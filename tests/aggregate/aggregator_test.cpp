#include "aggregate/aggregator.hpp"

#include <gtest/gtest.h>

#include <algorithm>
#include <numeric>

#include "support/examples.hpp"
#include "support/expect_error.hpp"

namespace fedmpi::aggregate {
namespace {

constexpr std::size_t kCoordinates = 40;

// What a kind makes of the updates of these clients, in this order.
Vector combined(const Kind& kind, const std::vector<std::size_t>& clients) {
  Matrix updates(static_cast<Eigen::Index>(kCoordinates), static_cast<Eigen::Index>(clients.size()));
  for (std::size_t c = 0; c < clients.size(); ++c) {
    const Vector update = test::random_vector(kCoordinates, 1.0, clients[c]);
    std::copy(update.begin(), update.end(), updates.col(static_cast<Eigen::Index>(c)).begin());
  }
  Vector result(kCoordinates);
  kind.combine({updates.data(), updates.rows(), updates.cols()}, result);
  return result;
}

TEST(EveryAggregator, CombinesExactlyWhereItNeedsIndividualUpdates) {
  for (const Kind& kind : kinds()) EXPECT_EQ(kind.combine != nullptr, kind.need == Need::individual) << kind.name;
}

TEST(EveryAggregator, DoesNotDependOnTheOrderOfClients) {
  Stream stream(1, Purpose::order);
  for (const Kind& kind : kinds()) {
    if (kind.need != Need::individual) continue;
    for (const std::size_t n : {2u, 3u, 8u, 9u}) {
      std::vector<std::size_t> clients(n);
      std::iota(clients.begin(), clients.end(), std::size_t{1});
      const Vector first = combined(kind, clients);
      for (int i = 0; i < 5; ++i) {
        stream.shuffle(std::span<std::size_t>(clients));
        EXPECT_EQ(combined(kind, clients), first) << kind.name << " of " << n;
      }
    }
  }
}

TEST(EveryAggregator, OfEqualUpdatesIsThatUpdate) {
  for (const Kind& kind : kinds()) {
    if (kind.need != Need::individual) continue;
    for (const std::size_t n : {1u, 2u, 5u, 6u})
      EXPECT_EQ(combined(kind, std::vector<std::size_t>(n, 7)), test::random_vector(kCoordinates, 1.0, 7)) << kind.name;
  }
}

TEST(Median, IsTheMiddleOrTheMeanOfTheTwo) {
  Matrix odd(2, 5), even(2, 4);
  odd << 5, -1, 3, 1e9F, 2,  //
      -4, -4, 0, -4, 1;
  even << 7, 1, 3, 100,  //
      -2, -2, 8, -6;
  Vector result(2);
  median({odd.data(), 2, 5}, result);
  EXPECT_EQ(result, (Vector{3, -4}));
  median({even.data(), 2, 4}, result);
  EXPECT_EQ(result, (Vector{5, -2}));
}

TEST(Median, IgnoresAMinorityHoweverFarAway) {
  for (const float far : {1e30F, -1e30F}) {
    Matrix updates(1, 5);
    updates << 0.9F, far, 1.0F, far, 1.1F;
    Vector result(1);
    median({updates.data(), 1, 5}, result);
    EXPECT_NEAR(result[0], 1.0F, 0.11F);
  }
}

TEST(Weight, IsByExamplesOrEqual) {
  EXPECT_EQ(weight({.weights = "examples"}, 17), 17u);
  EXPECT_EQ(weight({.weights = "examples"}, 0), 0u);
  EXPECT_EQ(weight({.weights = "equal"}, 17), 1u);
  EXPECT_EQ(weight({.weights = "equal"}, 0), 0u);
}

TEST(Aggregator, RefusesUnknownNames) {
  test::expect_error(ExitCode::usage, {"aggregate.kind", "maen", "median"}, [] { kind({.kind = "maen"}); });
  test::expect_error(ExitCode::usage, {"aggregate.weights", "size", "examples", "equal"},
                     [] { kind({.weights = "size"}); });
  EXPECT_STREQ(kind({.kind = "median"}).name, "median");
}

}  // namespace
}  // namespace fedmpi::aggregate
