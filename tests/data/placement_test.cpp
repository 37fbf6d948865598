#include "data/placement.hpp"

#include <gtest/gtest.h>

#include <algorithm>
#include <functional>
#include <numeric>
#include <set>

#include "base/random.hpp"

namespace fedmpi::data {
namespace {

using Sizes = std::vector<std::vector<std::uint64_t>>;

// Files of some clients with `least` to `most` examples.
Sizes random_sizes(Stream& stream, std::size_t files, std::uint64_t clients, std::uint64_t least, std::uint64_t most) {
  Sizes sizes(files);
  for (auto& file : sizes) {
    file.resize(1 + stream.below(clients));
    for (std::uint64_t& n : file) n = least + stream.below(most - least + 1);
  }
  return sizes;
}

std::vector<std::uint64_t> loads(const std::vector<Unit>& units, std::size_t participants) {
  std::vector<std::uint64_t> load(participants);
  for (const Unit& u : units) load.at(u.participant) += u.examples;
  return load;
}

std::size_t busy(const std::vector<Unit>& units) {
  std::set<std::uint64_t> participants;
  for (const Unit& u : units) participants.insert(u.participant);
  return participants.size();
}

// Units in ascending order that hold every client of every file exactly once, with its examples.
void expect_every_client_once(const Sizes& sizes, const std::vector<Unit>& units, std::size_t participants) {
  std::size_t at = 0;
  for (std::size_t f = 0; f < sizes.size(); ++f)
    for (std::size_t c = 0; c < sizes[f].size();) {
      ASSERT_LT(at, units.size());
      const Unit& u = units[at++];
      ASSERT_EQ(u.file, f);
      ASSERT_EQ(u.first_client, c);
      ASSERT_GE(u.clients, 1u);
      ASSERT_LE(c + u.clients, sizes[f].size());
      const auto begin = sizes[f].begin() + static_cast<std::ptrdiff_t>(c);
      EXPECT_EQ(u.examples, std::accumulate(begin, begin + static_cast<std::ptrdiff_t>(u.clients), std::uint64_t{0}));
      EXPECT_LT(u.participant, participants);
      c += u.clients;
    }
  EXPECT_EQ(at, units.size());
}

TEST(Placement, PlacesEveryClientOnce) {
  Stream stream(1, Purpose::generate);
  for (int i = 0; i < 300; ++i) {
    const Sizes sizes = random_sizes(stream, 1 + stream.below(8), 30, i % 3 == 0 ? 0 : 1, 1 + stream.below(2000));
    const std::size_t participants = 1 + stream.below(9);
    expect_every_client_once(sizes, place(sizes, participants), participants);
  }
}

TEST(Placement, KeepsFilesWholeWhereThereAreEnough) {
  Stream stream(2, Purpose::generate);
  for (const std::size_t files : {4u, 5u, 17u}) {
    const Sizes sizes = random_sizes(stream, files, 30, 1, 100);
    const std::vector<Unit> units = place(sizes, 4);
    EXPECT_EQ(units.size(), files);
    EXPECT_EQ(busy(units), 4u);
  }
}

// Every way to give the files to the participants, and the least that the busiest can have.
std::uint64_t best_makespan(std::span<const std::uint64_t> files, std::vector<std::uint64_t>& load) {
  if (files.empty()) return *std::max_element(load.begin(), load.end());
  std::uint64_t best = UINT64_MAX;
  for (std::uint64_t& l : load) {
    l += files[0];
    best = std::min(best, best_makespan(files.subspan(1), load));
    l -= files[0];
  }
  return best;
}

TEST(Placement, IsWithinFourThirdsOfTheBest) {
  Stream stream(3, Purpose::generate);
  double worst = 1.0;
  for (int i = 0; i < 200; ++i) {
    const std::size_t participants = 2 + stream.below(2), files = participants + stream.below(5);
    Sizes sizes(files);
    std::vector<std::uint64_t> of_file;
    for (auto& file : sizes) of_file.push_back(file.emplace_back(1 + stream.below(20)));
    std::vector<std::uint64_t> load(participants);
    const auto best = static_cast<double>(best_makespan(of_file, load));
    const std::vector<std::uint64_t> found = loads(place(sizes, participants), participants);
    worst = std::max(worst, static_cast<double>(*std::max_element(found.begin(), found.end())) / best);
  }
  EXPECT_LE(worst, 4.0 / 3.0);
  EXPECT_GT(worst, 1.0) << "these files show nothing";
}

TEST(Placement, CutsOneFileEvenly) {
  Stream stream(4, Purpose::generate);
  for (const std::size_t participants : {2u, 3u, 7u, 16u}) {
    Sizes sizes(1, std::vector<std::uint64_t>(participants * 40));
    for (std::uint64_t& n : sizes[0]) n = 50 + stream.below(100);
    const std::vector<Unit> units = place(sizes, participants);
    expect_every_client_once(sizes, units, participants);
    const std::vector<std::uint64_t> load = loads(units, participants);
    const auto total = static_cast<double>(std::accumulate(load.begin(), load.end(), std::uint64_t{0}));
    EXPECT_LE(static_cast<double>(*std::max_element(load.begin(), load.end())),
              1.1 * total / static_cast<double>(participants))
        << participants << " participants";
    EXPECT_LE(units.size(), 9 * participants) << "units are what every rank keeps of the placement";
  }
}

TEST(Placement, LeavesNobodyIdleWhereThereAreEnoughClients) {
  Stream stream(5, Purpose::generate);
  for (const Sizes& sizes : {Sizes{{1000, 1, 1}}, Sizes{{1, 1, 1000}}, Sizes{{500, 1}, {1}}, Sizes{{7, 7, 7}},
                             Sizes{{100000, 1, 2, 1, 3}, {1, 1}}}) {
    std::size_t clients = 0;
    for (const auto& file : sizes) clients += file.size();
    for (std::size_t participants = 1; participants <= clients; ++participants) {
      const std::vector<Unit> units = place(sizes, participants);
      expect_every_client_once(sizes, units, participants);
      EXPECT_EQ(busy(units), participants) << "of " << clients << " clients, the largest " << sizes[0][0];
    }
  }
}

TEST(Placement, LeavesSomeIdleWhereThereAreFewer) {
  const Sizes sizes = {{5, 9}, {3}};
  const std::vector<Unit> units = place(sizes, 10);
  expect_every_client_once(sizes, units, 10);
  EXPECT_EQ(busy(units), 3u);
}

TEST(Placement, IsAFunctionOfTheSizes) {
  const auto participants_of = [] {
    std::vector<std::uint64_t> p;
    for (const Unit& u : place(Sizes(7, {10, 10, 10}), 3)) p.push_back(u.participant);
    return p;
  };
  EXPECT_EQ(participants_of(), participants_of());
}

}  // namespace
}  // namespace fedmpi::data
