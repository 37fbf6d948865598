#include "federation/roster.hpp"

#include <gtest/gtest.h>

#include <algorithm>
#include <filesystem>
#include <set>

#include "data/prefetcher.hpp"
#include "data/shard.hpp"
#include "support/expect_error.hpp"
#include "support/roster.hpp"
#include "support/shards.hpp"
#include "support/temporary_directory.hpp"

namespace fedmpi::federation {
namespace {

using Participants = std::vector<std::uint64_t>;

TEST(Roster, InMemoryIsWholeOnOneProcess) {
  const Roster roster = test::roster_of(test::classification(3, 4), {5, 1, 7});
  EXPECT_EQ(roster.clients, 3u);
  EXPECT_EQ(roster.examples, 13u);
  EXPECT_EQ(roster.mine.clients(), 3u);
  EXPECT_EQ(roster.mine.client(2).size, 7u);
  EXPECT_EQ(roster.clients_of(0), "clients 0 to 2 of memory");
  roster.check_trainable();
}

TEST(Roster, NamesTheRanksWithoutClients) {
  Roster roster = test::roster_of(test::classification(3, 4), {5, 5});
  roster.seats = Seats(0, 6);
  roster.units = {{0, 0, 1, 5, 2}, {0, 1, 1, 5, 0}};
  test::expect_error(ExitCode::usage, {"2 for 5 participants", "rank 2, 4, 5"}, [&] { roster.check_trainable(); });
}

TEST(Roster, IsNotTrainedOnOneClassAlone) {
  const Roster roster = test::roster_of(test::classification(3, 1), {5, 5});
  test::expect_error(ExitCode::bad_data, {"at least 2 classes in memory", "the label 0 alone"},
                     [&] { roster.check_trainable(); });
}

TEST(Roster, NamesBothFilesThatDoNotFit) {
  Roster roster = test::roster_of(test::classification(2, 3), {5});
  data::Schema columns = roster.schema, labels = roster.schema, found = roster.schema;
  columns.columns = {"age", "weight"};
  labels.label_names = {"a", "b", "c"};
  roster.references = {{"first", roster.schema}, {"second", columns}, {"third", labels}};
  EXPECT_EQ(roster.misfit("other", found, false), std::nullopt) << "which says nothing of names";
  found.columns = columns.columns;
  found.label_names = {"a", "c", "b"};
  EXPECT_EQ(roster.misfit("other", found, false),
            "other: expected 2 features and 3 classes as in third, found class 1 is called 'c' and there 'b'");
  found.columns = {"weight", "age"};
  EXPECT_EQ(roster.misfit("other", found, false),
            "other: expected 2 features and 3 classes as in second, found column 0 is called 'weight' and there 'age'");
  found = roster.schema;
  found.classes = 2;
  EXPECT_EQ(roster.misfit("other", found, false),
            "other: expected 2 features and 3 classes as in first, found 2 classes and there 3");
  EXPECT_EQ(roster.misfit("other", found, true), std::nullopt) << "its labels are among the others'";
  found.classes = 4;
  EXPECT_EQ(roster.misfit("other", found, true),
            "other: expected 2 features and 3 classes as in first, found 4 classes and there 3");
}

// Eight participants with a file each, as every rank sees them: each rank's own roster, without MPI.
class LostParticipants : public testing::Test {
 protected:
  static constexpr std::size_t kRanks = 9;
  static constexpr std::uint64_t kExampleBytes = 2 * sizeof(float) + sizeof(std::int32_t);

  void make(const std::vector<std::uint64_t>& sizes, data::Budget budget = {}) {
    sizes_ = sizes;
    Roster all;
    for (std::size_t f = 0; f < sizes.size(); ++f) {
      all.files.push_back(folder_ / fmt::format("shard-{}.h5", f));
      std::filesystem::remove(all.files[f]);
      test::write_shard(all.files[f], "client", {.sizes = {sizes[f]}, .first = static_cast<float>(1000 * f)});
      all.units.push_back({f, 0, 1, sizes[f], f});
      all.first_client.push_back(f);
      all.example_bytes.push_back(kExampleBytes);
      all.hosts.push_back({.participant = f, .examples = sizes[f], .bytes = sizes[f] * kExampleBytes});
    }
    all.schema = data::Shard::open(all.files[0])->schema();
    all.spare = {UINT64_MAX};
    std::vector<data::Part> parts;
    for (const data::Unit& u : all.units) parts.push_back(all.part_of(u));
    const std::vector<std::uint64_t> checksums = all.checksums_of(data::load(parts, all.schema, false, {}));
    ranks_.clear();
    for (std::size_t r = 0; r < kRanks; ++r) {
      Roster& roster = ranks_.emplace_back();
      roster.seats = Seats(static_cast<int>(r), kRanks);
      roster.schema = all.schema;
      roster.budget = budget;
      roster.files = all.files;
      roster.units = all.units;
      roster.first_client = all.first_client;
      roster.example_bytes = all.example_bytes;
      roster.checksums = checksums;
      roster.hosts = all.hosts;
      roster.spare = all.spare;
      if (r > 0) roster.mine = data::load(std::span(parts).subspan(r - 1, 1), all.schema, false, budget);
    }
  }

  // On every rank that is left.
  TakenOver lose(const Participants& lost) {
    lost_.insert(lost.begin(), lost.end());
    TakenOver of_all;
    for (Roster& mine : ranks_) {
      if (lost_.contains(mine.seats.participant) && mine.seats.trains()) continue;
      const TakenOver taken = mine.take_over(lost);
      of_all.out_of_reach += taken.out_of_reach;
      EXPECT_TRUE(mine.seats.aggregates() || taken.no_room == of_all.no_room) << "rank " << mine.seats.rank;
      of_all.no_room = taken.no_room;
    }
    return of_all;
  }

  // Examples that each participant hosts, by what its rank has loaded; every client of `hosted` on one of them.
  std::vector<std::uint64_t> loads(std::size_t hosted = 8) {
    std::vector<std::uint64_t> examples(8);
    std::set<data::ClientId> clients;
    for (const Roster& roster : ranks_) {
      EXPECT_EQ(hosts_of(roster), hosts_of(ranks_[0])) << "all decide alike";
      if (!roster.seats.trains() || lost_.contains(roster.seats.participant)) continue;
      for (data::ClientId id = 0; id < 8; ++id) {
        if (!roster.mine.has(id)) continue;
        EXPECT_TRUE(clients.insert(id).second) << "client " << id;
        const data::ClientExamples c = roster.mine.client(id);
        EXPECT_EQ(c.size, sizes_[id]);
        EXPECT_TRUE(c.block->on_file || c.block->numbers[2 * c.first] == static_cast<float>(1000 * id));
        examples[roster.seats.participant] += c.size;
      }
    }
    EXPECT_EQ(clients.size(), hosted);
    return examples;
  }
  Participants hosts_of(const Roster& roster) {
    Participants hosts;
    if (roster.seats.trains() && lost_.contains(roster.seats.participant)) return hosts_of(ranks_[0]);
    for (const data::Unit& u : roster.units) hosts.push_back(u.participant);
    return hosts;
  }

  test::TemporaryDirectory folder_;
  std::vector<std::uint64_t> sizes_;
  std::vector<Roster> ranks_;
  std::set<std::uint64_t> lost_;
};

TEST_F(LostParticipants, OfFiveOfEightSpread) {
  for (const std::vector<Participants>& orders :
       {std::vector<Participants>{{0}, {1}, {2}, {3}, {4}}, {{7, 2}, {5}, {0, 3}}, {{6, 1, 4, 2, 0}}}) {
    lost_.clear();
    make(std::vector<std::uint64_t>(8, 10));
    for (const Participants& lost : orders) EXPECT_EQ(lose(lost).out_of_reach, 0u);
    std::vector<std::uint64_t> found = loads();
    std::ranges::sort(found, std::greater());
    EXPECT_EQ(found, (std::vector<std::uint64_t>{30, 30, 20, 0, 0, 0, 0, 0}));
  }
}

TEST_F(LostParticipants, GoToThoseWithFewExamples) {
  make({50, 40, 5, 30, 6, 60, 7, 8});
  lose({5, 3});  // 60 examples go to the one with 5, 30 to the one with 6
  EXPECT_EQ(loads(), (std::vector<std::uint64_t>{50, 40, 65, 0, 36, 0, 7, 8}));
  lose({2});  // its own 5 and those 60: 60 to the one with 7, 5 to the one with 8
  EXPECT_EQ(loads(), (std::vector<std::uint64_t>{50, 40, 0, 0, 36, 0, 67, 13}));
}

TEST_F(LostParticipants, OnlyGoWhereThereIsMemory) {
  make(std::vector<std::uint64_t>(8, 10));
  for (Roster& roster : ranks_) {
    for (data::Host& host : roster.hosts) host.node = host.participant / 4;
    roster.spare = {25 * kExampleBytes, 5 * kExampleBytes};
  }
  EXPECT_EQ(lose({0, 1}).no_room, 0u) << "their node has what they held besides";
  EXPECT_EQ(loads(), (std::vector<std::uint64_t>{0, 0, 20, 20, 10, 10, 10, 10}));
  EXPECT_EQ(lose({4, 5, 6}).no_room, 0u);
  const std::vector<std::uint64_t> found = loads();
  EXPECT_EQ(found[2] + found[3], 60u);
  EXPECT_EQ(found[7], 20u);
  const TakenOver last = lose({2, 3, 7});
  EXPECT_EQ(last.no_room, 8u) << "nobody is left";
}

TEST_F(LostParticipants, ThatFitNowhereAreLeftOut) {
  make({10, 10, 10, 10, 10, 10, 10, 100});
  for (Roster& roster : ranks_) {
    for (data::Host& host : roster.hosts) host.node = host.participant;
    roster.spare.assign(8, 15 * kExampleBytes);
  }
  const TakenOver taken = lose({6, 7});
  EXPECT_EQ(taken.no_room, 1u);
  EXPECT_EQ(taken.out_of_reach, 0u);
  EXPECT_EQ(loads(7), (std::vector<std::uint64_t>{20, 10, 10, 10, 10, 10, 0, 0}));
  EXPECT_EQ(ranks_[0].units[7].participant, data::kNobody);
}

TEST_F(LostParticipants, OfFilesThatAreGoneAreSaid) {
  make(std::vector<std::uint64_t>(8, 10));
  std::filesystem::remove(folder_ / "shard-3.h5");
  std::filesystem::remove(folder_ / "shard-4.h5");
  test::write_shard(folder_ / "shard-4.h5", "client", {.sizes = {10}, .first = 7});
  EXPECT_EQ(lose({3, 4, 5}).out_of_reach, 2u);
  loads(6);
}

// data.memory is for all that a participant hosts, not for each run of clients that comes to it.
TEST_F(LostParticipants, KeepWithinTheMemoryOfTheHost) {
  const std::uint64_t budget = 40'000 * kExampleBytes;
  make(std::vector<std::uint64_t>(8, 10'000), {budget, 1});
  for (Roster& roster : ranks_)
    for (data::Host& host : roster.hosts) host.may_hold = budget;
  for (const std::uint64_t lost : {0, 1, 2, 3, 4, 5, 6}) {
    EXPECT_EQ(lose({lost}).out_of_reach, 0u) << lost;
    for (const Roster& roster : ranks_) {
      EXPECT_LE(roster.mine.held() + roster.mine.prefetcher().memory(), budget);
    }
  }
  EXPECT_EQ(loads()[7], 80'000u);
}

}  // namespace
}  // namespace fedmpi::federation
