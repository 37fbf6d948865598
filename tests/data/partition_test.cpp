#include "data/partition.hpp"

#include <algorithm>
#include <map>
#include <numeric>
#include <set>

#include "base/random.hpp"
#include "fixtures.hpp"

namespace fedmpi::data {
namespace {

using test::expect_error;

// `examples` shuffled labels of which label k has a share proportional to k + 1 where uneven, else the same.
Census labelled(std::size_t examples, std::size_t classes, bool uneven = false) {
  Census census;
  census.examples = examples;
  census.classes = classes;
  std::vector<std::int32_t> pattern;
  for (std::size_t k = 0; k < classes; ++k)
    pattern.insert(pattern.end(), uneven ? k + 1 : 1, static_cast<std::int32_t>(k));
  for (std::size_t i = 0; i < examples; ++i) census.labels.push_back(pattern[i % pattern.size()]);
  Stream(1, Purpose::generate).shuffle(std::span(census.labels));
  return census;
}

std::vector<std::size_t> sizes_of(const Assignment& a) {
  std::vector<std::size_t> sizes(a.clients() + 1);
  for (const std::uint32_t c : a.client) ++sizes.at(c);
  EXPECT_EQ(sizes.back(), a.held_out);
  sizes.pop_back();
  return sizes;
}

// Examples of each label that each client has.
std::vector<std::vector<double>> histogram(const Census& census, const Assignment& a) {
  std::vector<std::vector<double>> counts(a.clients(), std::vector<double>(census.classes));
  for (std::size_t i = 0; i < census.examples; ++i) ++counts[a.client[i]][static_cast<std::size_t>(census.labels[i])];
  return counts;
}

std::size_t distinct(const std::vector<double>& counts) {
  return static_cast<std::size_t>(std::count_if(counts.begin(), counts.end(), [](double n) { return n > 0; }));
}

class EveryPartition : public testing::TestWithParam<std::string> {};

TEST_P(EveryPartition, GivesEveryExampleToOneClientInTheSizesAsked) {
  const Census census = labelled(1003, 7, true);
  for (const double skew : {0.0, 0.1, 5.0}) {
    const Assignment a = assign(census, {}, {GetParam(), 50, skew, 0.0, 3});
    EXPECT_EQ(a.client.size(), 1003U);
    const auto sizes = sizes_of(a);
    ASSERT_EQ(sizes.size(), 50U);
    const auto [least, most] = std::minmax_element(sizes.begin(), sizes.end());
    EXPECT_GE(*least, 1U);
    if (skew == 0.0)
      EXPECT_LE(*most - *least, 1U);
    else
      EXPECT_GT(*most, *least + 10);
  }
}

TEST_P(EveryPartition, IsAFunctionOfTheSeed) {
  const Census census = labelled(500, 5);
  const auto with_seed = [&](std::uint64_t seed) {
    return assign(census, {}, {GetParam(), 10, 1.0, 0.1, seed}).client;
  };
  EXPECT_EQ(with_seed(1), with_seed(1));
  EXPECT_NE(with_seed(1), with_seed(2));
}

TEST_P(EveryPartition, HoldsOutARandomFractionFirst) {
  const Census census = labelled(1000, 5);
  const Assignment a = assign(census, {}, {GetParam(), 10, 0.0, 0.25, 1});
  EXPECT_EQ(a.held_out, 250U);
  for (const std::size_t size : sizes_of(a)) EXPECT_EQ(size, 75U);
}

TEST_P(EveryPartition, TakesAsManyClientsAsExamples) {
  const auto sizes = sizes_of(assign(labelled(20, 4), {}, {GetParam(), 20, 1.0, 0.0, 1}));
  EXPECT_EQ(sizes, std::vector<std::size_t>(20, 1));
}

INSTANTIATE_TEST_SUITE_P(Kinds, EveryPartition, testing::Values("iid", "dirichlet:0.3", "labels:1"),
                         [](const auto& kind) { return kind.param.substr(0, kind.param.find(':')); });

TEST(Iid, GivesEveryClientTheMixtureOfAll) {
  const Census census = labelled(10'000, 4, true);
  for (const auto& counts : histogram(census, assign(census, {}, {"iid", 10, 0.0, 0.0, 1})))
    for (std::size_t k = 0; k < 4; ++k) {
      const double p = static_cast<double>(k + 1) / 10.0;
      EXPECT_NEAR(counts[k], 1000 * p, 5 * std::sqrt(1000 * p * (1 - p)));
    }
}

TEST(ByLabels, DealsWholePiecesOfTheSortedExamples) {
  // As in the FedAvg paper: 100 clients, 200 pieces of 300; each label has a whole number of pieces.
  const Census census = labelled(60'000, 10);
  const auto counts = histogram(census, assign(census, {}, {"labels:2", 100, 0.0, 0.0, 1}));
  std::size_t two = 0;
  for (const auto& client : counts) {
    EXPECT_LE(distinct(client), 2U);
    two += distinct(client) == 2 ? 1 : 0;
    for (const double n : client) EXPECT_TRUE(n == 0 || n == 300 || n == 600) << n;
  }
  EXPECT_GT(two, 80U);  // nine of ten by chance
}

TEST(ByLabels, CrossesAtMostOneBorderPerPiece) {
  const Census census = labelled(10'000, 10, true);
  for (const std::size_t k : {1U, 2U, 3U}) {
    // A piece is shorter than the rarest label's 181 examples.
    const auto counts = histogram(census, assign(census, {}, {fmt::format("labels:{}", k), 100, 0.0, 0.0, 1}));
    std::size_t most = 0;
    double mean = 0;
    for (const auto& client : counts) {
      most = std::max(most, distinct(client));
      mean += static_cast<double>(distinct(client)) / 100;
    }
    EXPECT_LE(most, 2 * k);
    EXPECT_LE(mean, static_cast<double>(k) + 0.1);  // nine borders among all the pieces
  }
}

TEST(ByLabels, KeepsTheOrderOfTheInputWithinALabel) {
  Census census = labelled(100, 2);
  const Assignment a = assign(census, {}, {"labels:1", 4, 0.0, 0.0, 1});
  std::map<std::int32_t, std::vector<std::uint32_t>> owners;
  for (std::size_t i = 0; i < 100; ++i) {
    auto& order = owners[census.labels[i]];
    if (order.empty() || order.back() != a.client[i]) order.push_back(a.client[i]);
  }
  for (const auto& [label, order] : owners) EXPECT_EQ(order.size(), 2U);
}

TEST(DirichletPartition, HasThePriorAsItsMean) {
  // Many small clients: the mean mixture over clients is the prior by construction of the whole, so the
  // property is looked for in the first half of the clients, which draw from pools that are far from empty.
  const Census census = labelled(80'000, 4, true);
  const auto counts = histogram(census, assign(census, {}, {"dirichlet:2", 8000, 0.0, 0.0, 1}));
  for (std::size_t k = 0; k < 4; ++k) {
    const double prior = static_cast<double>(k + 1) / 10.0;
    double mean = 0, square = 0;
    for (std::size_t c = 0; c < 2000; ++c) {
      mean += counts[c][k] / 10 / 2000;
      square += counts[c][k] / 10 * counts[c][k] / 10 / 2000;
    }
    EXPECT_NEAR(mean, prior, 0.03);
    // Dirichlet-multinomial of n = 10 draws, total concentration S = A · K = 8: variance p(1-p)/n · (n + S)/(1 + S).
    EXPECT_NEAR(square - mean * mean, prior * (1 - prior) / 10 * (10 + 8) / (1 + 8), 0.015);
  }
}

TEST(DirichletPartition, RunsFromOneLabelPerClientToTheMixtureOfAll) {
  const Census census = labelled(10'000, 10);
  const auto variety = [&](const char* partition) {
    double mean = 0;
    for (const auto& client : histogram(census, assign(census, {}, {partition, 100, 0.0, 0.0, 1})))
      mean += static_cast<double>(distinct(client)) / 100;
    return mean;
  };
  EXPECT_LT(variety("dirichlet:0.001"), 2.0);
  EXPECT_GT(variety("dirichlet:1"), variety("dirichlet:0.1") + 0.5);
  EXPECT_GT(variety("dirichlet:1000"), 9.8);
}

TEST(DirichletPartition, LeavesOutLabelsThatNoExampleHas) {
  Census census = labelled(100, 2);
  census.classes = 5;
  EXPECT_EQ(sizes_of(assign(census, {}, {"dirichlet:1", 7, 0.0, 0.0, 1})).size(), 7U);
}

Census natural(const std::vector<std::uint32_t>& clients) {
  Census census = labelled(clients.size(), 2);
  census.clients = clients;
  return census;
}

TEST(Natural, KeepsTheInputsClientsAndDropsEmptyOnes) {
  const Assignment a = assign(natural({2, 0, 2, 2}), {"a", "b", "c"}, {"", 0, 0.0, 0.0, 1});
  EXPECT_EQ(a.names, (std::vector<std::string>{"a", "c"}));
  EXPECT_EQ(a.client, (std::vector<std::uint32_t>{1, 0, 1, 1}));
  EXPECT_EQ(a.empty, 1U);
  EXPECT_EQ(a.lost, 0U);
}

TEST(Natural, CountsTheClientsThatLoseAllTheirExamples) {
  std::vector<std::uint32_t> clients(50);
  std::iota(clients.begin(), clients.end(), 0U);
  std::vector<std::string> names;
  for (std::size_t c = 0; c < 52; ++c) names.push_back(std::to_string(c));
  const Assignment a = assign(natural(clients), names, {"", 0, 0.0, 0.4, 1});
  EXPECT_EQ(a.clients(), 30U);
  EXPECT_EQ(a.lost, 20U);
  EXPECT_EQ(a.empty, 2U);
}

TEST(Natural, GivesWayToAPartitionThatIsAsked) {
  const Assignment a = assign(natural({0, 0, 1, 1}), {"a", "b"}, {"iid", 4, 0.0, 0.0, 1});
  EXPECT_EQ(a.names, (std::vector<std::string>{"0", "1", "2", "3"}));
}

TEST(Assign, RefusesWhatCannotWork) {
  const Census census = labelled(100, 4);
  const auto refuses = [&](const PartitionOptions& options, const std::string& part) {
    expect_error(ExitCode::usage, {part}, [&] { assign(census, {}, options); });
  };
  refuses({"iid", 101, 0.0, 0.0, 1}, "at most 100");
  refuses({"iid", 91, 0.0, 0.1, 1}, "at most 90");
  refuses({"", 0, 0.0, 0.0, 1}, "--clients");
  refuses({"natural", 0, 0.0, 0.0, 1}, "clients of its own");
  refuses({"round-robin", 3, 0.0, 0.0, 1}, "iid, dirichlet, labels, natural");
  refuses({"iid:3", 3, 0.0, 0.0, 1}, "iid:3");
  refuses({"dirichlet", 3, 0.0, 0.0, 1}, "dirichlet:A");
  refuses({"dirichlet:0", 3, 0.0, 0.0, 1}, "dirichlet:A");
  refuses({"dirichlet:nan", 3, 0.0, 0.0, 1}, "dirichlet:A");
  refuses({"dirichlet:1e7", 3, 0.0, 0.0, 1}, "up to 1000000, found 'dirichlet:1e7'");
  refuses({"labels:1.5", 3, 0.0, 0.0, 1}, "labels:K");
  refuses({"labels:51", 2, 0.0, 0.0, 1}, "at most 50 pieces");
  refuses({"iid", 3, -1.0, 0.0, 1}, "--skew");
  refuses({"iid", 3, 1000001.0, 0.0, 1}, "from 0 to 1000000, found 1000001");
  refuses({"iid", 3, std::nan(""), 0.0, 1}, "--skew");
  refuses({"iid", 3, 0.0, 1.0, 1}, "--holdout");
  refuses({"iid", 3, 0.0, -0.5, 1}, "--holdout");
  refuses({"iid", 3, 0.0, 0.999, 1}, "--holdout");
  refuses({"iid", 3, 0.0, 0.001, 1},
          "--holdout: expected a fraction that holds out at least one of 100 examples, found 0.001");
  EXPECT_EQ(assign(census, {}, {"iid", 3, 0.0, 0.01, 1}).held_out, 1U);
  EXPECT_EQ(assign(census, {}, {"dirichlet:1e6", 3, 1e6, 0.0, 1}).clients(), 3U);
  const Census own = natural({0, 1, 1});
  expect_error(ExitCode::usage, {"2 clients of its own"}, [&] { assign(own, {"a", "b"}, {"", 3, 0.0, 0.0, 1}); });
  expect_error(ExitCode::usage, {"--skew"}, [&] { assign(own, {"a", "b"}, {"", 0, 1.0, 0.0, 1}); });
  Census regression;
  regression.examples = 10;
  expect_error(ExitCode::usage, {"regression"}, [&] { assign(regression, {}, {"labels:1", 3, 0.0, 0.0, 1}); });
  EXPECT_EQ(assign(regression, {}, {"iid", 3, 0.0, 0.0, 1}).clients(), 3U);
}

}  // namespace
}  // namespace fedmpi::data
