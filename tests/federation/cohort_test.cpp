#include "federation/cohort.hpp"

#include <gtest/gtest.h>

#include <algorithm>
#include <chrono>
#include <cmath>
#include <map>
#include <set>

#include "base/names.hpp"

namespace fedmpi::federation {
namespace {

using Cohort = std::vector<data::ClientId>;

Cohort draw(const char* sampling, std::uint64_t clients, double expected, std::uint64_t round, std::uint64_t seed = 1) {
  Cohort cohort = {99};  // what was there goes
  draw_cohort(find_by_name(samplings(), sampling, ""), clients, expected, seed, round, cohort);
  return cohort;
}

TEST(EverySampling, DrawsDistinctClientsInOrder) {
  for (const Sampling& sampling : samplings())
    for (const std::uint64_t clients : {1u, 2u, 10u, 1000u})
      for (const double share : {0.01, 0.5, 0.99, 1.0})
        for (std::uint64_t round = 1; round <= 20; ++round) {
          const Cohort cohort = draw(sampling.name, clients, share * static_cast<double>(clients), round);
          EXPECT_TRUE(std::is_sorted(cohort.begin(), cohort.end()));
          EXPECT_EQ(std::adjacent_find(cohort.begin(), cohort.end()), cohort.end()) << sampling.name;
          EXPECT_TRUE(cohort.empty() || cohort.back() < clients) << sampling.name;
          EXPECT_TRUE(share < 1.0 || cohort.size() == clients) << sampling.name;
        }
}

TEST(EverySampling, IsAFunctionOfSeedAndRound) {
  for (const Sampling& sampling : samplings()) {
    const Cohort first = draw(sampling.name, 1000, 100, 1);
    EXPECT_EQ(draw(sampling.name, 1000, 100, 1), first) << sampling.name;
    EXPECT_NE(draw(sampling.name, 1000, 100, 2), first) << sampling.name;
    EXPECT_NE(draw(sampling.name, 1000, 100, 1, 2), first) << sampling.name;
  }
}

// A thousand small cohorts of a hundred million clients: what is linear in the clients would take minutes.
TEST(EverySampling, CostsNoMoreThanTheCohort) {
  const auto start = std::chrono::steady_clock::now();
  for (const Sampling& sampling : samplings())
    for (std::uint64_t round = 1; round <= 1000; ++round) {
      const Cohort cohort = draw(sampling.name, 100'000'000, 100, round);
      EXPECT_GT(cohort.size(), 40u);
      EXPECT_LT(cohort.size(), 180u);
    }
  EXPECT_LT(std::chrono::steady_clock::now() - start, std::chrono::seconds(10));
}

TEST(Uniform, HasTheExactSize) {
  EXPECT_EQ(draw("uniform", 10, 3.0, 1).size(), 3u);
  EXPECT_EQ(draw("uniform", 10, 3.4, 1).size(), 3u);
  EXPECT_EQ(draw("uniform", 10, 3.6, 1).size(), 4u);
  EXPECT_EQ(draw("uniform", 10, 0.1, 1).size(), 1u) << "one at least";
  EXPECT_EQ(draw("uniform", 1'000'000, 1000, 1).size(), 1000u);
}

// Chi-square of the counts of `cells` events against their common expectation, with `n` draws: below the bound
// with a probability of about 1 - 1e-6 (Wilson and Hilferty 1931), for draws that are what they should be.
template <class Counts>
void expect_equally_likely(const Counts& counts, std::size_t cells, double n) {
  const double expected = n / static_cast<double>(cells);
  double chi_square = expected * static_cast<double>(cells - counts.size());  // never seen
  for (const auto& [event, count] : counts) chi_square += (count - expected) * (count - expected) / expected;
  const double k = static_cast<double>(cells - 1), spread = 2.0 / (9.0 * k);
  EXPECT_LT(chi_square, k * std::pow(1.0 - spread + 4.75 * std::sqrt(spread), 3.0));
}

TEST(Uniform, DrawsEverySubsetEquallyOften) {
  constexpr int kDraws = 21'000;
  std::map<Cohort, double> counts;
  for (std::uint64_t round = 1; round <= kDraws; ++round) ++counts[draw("uniform", 7, 3, round)];
  expect_equally_likely(counts, 35, kDraws);
}

TEST(Poisson, DrawsEverySubsetWithItsProbability) {
  constexpr int kDraws = 32'000;  // with probability one half each, all 2^5 subsets are equally likely
  std::map<Cohort, double> counts;
  for (std::uint64_t round = 1; round <= kDraws; ++round) ++counts[draw("poisson", 5, 2.5, round)];
  expect_equally_likely(counts, 32, kDraws);
}

TEST(Poisson, HasTheMeanAndSpreadOfIndependentDraws) {
  constexpr double kClients = 2000, kExpected = 60, kRounds = 4000;
  double sum = 0.0, squares = 0.0;
  std::vector<double> times(static_cast<std::size_t>(kClients));
  for (std::uint64_t round = 1; round <= static_cast<std::uint64_t>(kRounds); ++round) {
    const Cohort cohort = draw("poisson", 2000, kExpected, round);
    const auto n = static_cast<double>(cohort.size());
    sum += n;
    squares += n * n;
    for (const data::ClientId id : cohort) ++times[id];
  }
  const double mean = sum / kRounds, variance = squares / kRounds - mean * mean;
  const double expected_variance = kExpected * (1.0 - kExpected / kClients);
  EXPECT_NEAR(mean, kExpected, 5 * std::sqrt(expected_variance / kRounds));
  EXPECT_NEAR(variance, expected_variance, 5 * expected_variance * std::sqrt(2 / kRounds));
  // The first and the last client as often as any other.
  const double q = kExpected / kClients, deviation = std::sqrt(kRounds * q * (1 - q));
  for (const std::size_t id : {0u, 1u, 1000u, 1998u, 1999u}) EXPECT_NEAR(times[id], kRounds * q, 5 * deviation) << id;
}

}  // namespace
}  // namespace fedmpi::federation
