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

// Units of so many examples, given to hosts that have some already, with memory for all.
std::vector<Host> hosts_after(const std::vector<std::uint64_t>& examples, std::vector<Host> hosts) {
  std::vector<Unit> units;
  for (const std::uint64_t n : examples) units.push_back({0, units.size(), 1, n, 0});
  std::vector<Unit*> all;
  for (Unit& u : units) all.push_back(&u);
  std::uint64_t memory = UINT64_MAX;
  hand_out(all, examples, hosts, std::span(&memory, 1));
  for (const Unit& u : units) EXPECT_NE(u.participant, kNobody);
  return hosts;
}

TEST(HandOut, GoesByWhatTheHostsHave) {
  Stream stream(6, Purpose::generate);
  for (int i = 0; i < 200; ++i) {
    std::vector<Host> hosts(1 + stream.below(6));
    std::vector<std::uint64_t> examples(stream.below(12));
    for (std::size_t h = 0; h < hosts.size(); ++h) hosts[h] = {.participant = 10 + h, .examples = stream.below(100)};
    for (std::uint64_t& n : examples) n = 1 + stream.below(50);
    std::uint64_t total = std::accumulate(examples.begin(), examples.end(), std::uint64_t{0}), had = 0;
    for (const Host& h : hosts) total += h.examples, had = std::max(had, h.examples);
    const std::uint64_t largest = examples.empty() ? 0 : *std::ranges::max_element(examples);
    std::uint64_t most = 0, found = 0;
    for (const Host& h : hosts_after(examples, hosts)) most = std::max(most, h.examples), found += h.examples;
    EXPECT_EQ(found, total);
    EXPECT_LE(most, std::max(had, total / hosts.size() + largest)) << "no host gets more while another has less";
  }
}

TEST(HandOut, TakesFromTheMemoryOfNodes) {
  std::vector<Unit> units = {{0, 0, 1, 10, 0}, {0, 1, 1, 20, 0}, {0, 2, 1, 30, 0}, {0, 3, 1, 40, 0}};
  const std::vector<std::uint64_t> bytes = {100, 200, 300, 400};
  std::vector<Host> hosts = {{.participant = 3, .node = 1}, {.participant = 5}, {.participant = 6, .examples = 1}};
  std::vector<std::uint64_t> spare = {500, 350};
  hand_out(std::vector<Unit*>{&units[0], &units[1], &units[2], &units[3]}, bytes, hosts, spare);
  // The largest does not fit beside participant 3, the next fits there and nowhere else, the third nowhere.
  EXPECT_EQ(units[3].participant, 5u);
  EXPECT_EQ(units[2].participant, 3u);
  EXPECT_EQ(units[1].participant, kNobody);
  EXPECT_EQ(units[0].participant, 6u);
  EXPECT_EQ(spare, (std::vector<std::uint64_t>{0, 50}));
  EXPECT_EQ(hosts[1].bytes, 400u);
}

TEST(HandOut, LeavesOnFileWhatAHostMayNotHold) {
  std::vector<Unit> units = {{0, 0, 1, 10, 0}, {0, 1, 1, 10, 0}};
  std::vector<Host> hosts = {{.participant = 0, .bytes = 50, .may_hold = 120}};
  std::vector<std::uint64_t> spare = {70};
  hand_out(std::vector<Unit*>{&units[0], &units[1]}, std::vector<std::uint64_t>{100, 100}, hosts, spare);
  EXPECT_EQ(units[0].participant, 0u);
  EXPECT_EQ(units[1].participant, 0u);
  EXPECT_EQ(hosts[0].bytes, 120u);
  EXPECT_EQ(spare[0], 0u);
}

TEST(HandOut, ToNoHostsLeavesAllOut) {
  Unit unit{0, 0, 1, 10, 0};
  std::vector<std::uint64_t> spare = {70};
  hand_out(std::vector<Unit*>{&unit}, std::vector<std::uint64_t>{1}, {}, spare);
  EXPECT_EQ(unit.participant, kNobody);
}

}  // namespace
}  // namespace fedmpi::data
