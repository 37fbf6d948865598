#include "federation/roster.hpp"

#include <gtest/gtest.h>

#include <algorithm>
#include <array>
#include <filesystem>

#include "mpi/collective_error.hpp"
#include "support/expect_error.hpp"
#include "support/shards.hpp"
#include "support/temporary_directory.hpp"

namespace fedmpi::federation {
namespace {

using Strings = std::vector<std::string>;

// A directory that rank 0 makes and fills, and all ranks see.
class Shards : public testing::Test {
 protected:
  Shards() {
    if (comm_.is_root()) owned_ = std::make_unique<test::TemporaryDirectory>();
    if (comm_.is_root()) path_ = *owned_ / "";
    comm_.broadcast(path_);
  }
  ~Shards() override { wait(); }  // until everyone has read

  void wait() {
    std::int32_t nothing = 0;
    comm_.all_max(std::span(&nothing, 1));
  }

  // Rank 0 writes a shard.
  void write(const std::string& name, const test::ShardContent& content) {
    if (comm_.is_root()) test::write_shard(path_ + name, name.substr(0, name.size() - 3), content);
    wait();
  }

  Roster roster(const std::string& test = "", bool skip_bad = false) {
    Roster roster = assemble(comm_, path_ + "shard-*.h5", skip_bad);
    load_test(comm_, roster, test.empty() ? "" : path_ + test, skip_bad, 500);
    return roster;
  }
  // The sizes of the runs of test rows, of all ranks in order, on every rank.
  std::vector<std::uint64_t> test_runs(const Roster& r) {
    std::vector<std::uint64_t> mine;
    for (std::size_t i = 1; i < r.test.offsets.size(); ++i) mine.push_back(r.test.offsets[i] - r.test.offsets[i - 1]);
    std::vector<std::uint64_t> all = comm_.gather(std::span<const std::uint64_t>(mine));
    std::uint64_t n = all.size();
    comm_.broadcast_struct(n);
    all.resize(n);
    comm_.broadcast(std::span(all));
    return all;
  }
  // Fails with the same sentence on every rank.
  void expect_refused(const Strings& parts, const std::string& test = "") {
    std::string message;
    test::expect_error(ExitCode::bad_data, parts, [&] {
      try {
        roster(test);
      } catch (const mpi::CollectiveError& error) {
        message = error.what();
        throw;
      }
    });
    std::string of_root = message;
    comm_.broadcast(of_root);
    EXPECT_EQ(message, of_root);
  }

  mpi::Communicator comm_{MPI_COMM_WORLD};
  std::unique_ptr<test::TemporaryDirectory> owned_;
  std::string path_;
};

TEST_F(Shards, ArePlacedAndLoadedWhole) {
  write("shard-1.h5", {.sizes = {5, 1, 4, 3, 2, 6, 7, 2}});
  write("shard-2.h5", {.sizes = {2, 9}, .first = 1000});
  const Roster r = roster();
  EXPECT_EQ(r.clients, 10u);
  EXPECT_EQ(r.examples, 41u);
  EXPECT_EQ(r.dropped, 0u);
  EXPECT_EQ(r.files.size(), 2u);
  EXPECT_EQ(r.first_client, (std::vector<std::uint64_t>{0, 8}));
  EXPECT_EQ(r.schema.classes, 3u);
  EXPECT_EQ(r.schema.features(), 2u);
  const data::StoredVector<std::uint32_t> sizes = {5, 1, 4, 3, 2, 6, 7, 2, 2, 9};
  EXPECT_EQ(r.sizes, comm_.is_root() ? sizes : data::StoredVector<std::uint32_t>{});
  r.check_trainable();

  // Every client on one rank, and with its own rows.
  std::vector<std::int32_t> hosts(10);
  const std::vector<std::size_t> first_rows = {0, 5, 6, 10, 13, 15, 21, 28, 1000, 1002};
  for (data::ClientId id = 0; id < 10; ++id) {
    if (!r.mine.has(id)) continue;
    ++hosts[id];
    const data::ClientExamples c = r.mine.client(id);
    EXPECT_EQ(c.block->numbers[2 * c.first], static_cast<float>(first_rows[id]));
    EXPECT_EQ(r.describe(id),
              fmt::format("client 'shard-{}/{}' of {}", id < 8 ? 1 : 2, id < 8 ? id : id - 8, r.files[id < 8 ? 0 : 1]));
  }
  comm_.all_sum(std::span(hosts));
  EXPECT_EQ(hosts, std::vector<std::int32_t>(10, 1));
  EXPECT_TRUE(comm_.size() == 1 || !comm_.is_root() || r.mine.clients() == 0) << "rank 0 only aggregates";
}

TEST_F(Shards, HaveADigestOfTheirContent) {
  write("shard-1.h5", {.sizes = {5, 4}});
  const std::string first = roster().digest;
  const auto digest_with = [&](auto change) {
    if (comm_.is_root()) std::filesystem::remove(path_ + "shard-1.h5");
    change();
    return roster().digest;
  };
  const std::string same = digest_with([&] { write("shard-1.h5", {.sizes = {5, 4}}); });
  const std::string other_sizes = digest_with([&] { write("shard-1.h5", {.sizes = {4, 5}}); });
  const std::string other_values = digest_with([&] { write("shard-1.h5", {.sizes = {5, 4}, .first = 1.0F}); });
  if (!comm_.is_root()) return;
  EXPECT_EQ(same, first);
  EXPECT_NE(other_sizes, first);
  EXPECT_NE(other_values, first);
}

TEST_F(Shards, ShareOutTheTestRowsInWholeBlocks) {
  constexpr std::size_t kRows = 7 * kEvaluationRows + 5;
  write("shard-1.h5", {.sizes = {5, 4, 3, 2, 1, 6, 7, 8}});
  write("test.h5", {.sizes = {kRows}});
  const Roster r = roster("test.h5");
  EXPECT_EQ(r.test_rows, kRows);
  EXPECT_EQ(r.test.first_row % kEvaluationRows, 0u);
  EXPECT_TRUE(r.test.rows == 0 || r.test.numbers[0] == static_cast<float>(r.test.first_row));
  EXPECT_EQ(test_runs(r), (std::vector<std::uint64_t>{256, 256, 256, 256, 256, 256, 256, 5}));
}

// The blocks are rows of the file, also where bad rows are left out: the same for any number of ranks.
TEST_F(Shards, ShareOutTheSameTestBlocksWithoutBadRows) {
  write("shard-1.h5", {.sizes = {5, 4, 3, 2, 1, 6, 7, 8}});
  write("test.h5", {.sizes = {3 * kEvaluationRows}, .bad_row = kEvaluationRows + 9});
  const Roster r = roster("test.h5", true);
  EXPECT_EQ(r.test_rows, 3 * kEvaluationRows - 1);
  EXPECT_EQ(test_runs(r), (std::vector<std::uint64_t>{256, 255, 256}));
}

TEST_F(Shards, MayHaveFewerTestBlocksThanRanks) {
  write("shard-1.h5", {.sizes = {5, 4, 3, 2, 1, 6, 7, 8}});
  write("test.h5", {.sizes = {4}});
  const Roster r = roster("test.h5");
  EXPECT_EQ(r.test_rows, 4u);
  EXPECT_EQ(test_runs(r), (std::vector<std::uint64_t>{4}));
}

TEST_F(Shards, DropBadRowsWhereAsked) {
  write("shard-1.h5", {.sizes = {5, 4, 3, 2, 6}, .bad_row = 6});
  const Roster r = roster("", true);
  EXPECT_EQ(r.dropped, 1u);
  EXPECT_EQ(r.examples, 19u);
  EXPECT_TRUE(!comm_.is_root() || r.sizes[1] == 3);
  expect_refused({path_ + "shard-1.h5", "row 6"});
}

TEST_F(Shards, AreRefusedByAllRanksWithEveryOffender) {
  write("shard-1.h5", {.sizes = {5, 4, 3, 6}});
  write("shard-2.h5", {.sizes = {5, 4, 3}, .features = 7});
  write("shard-3.h5", {.sizes = {5, 4}, .classes = 4});
  expect_refused({path_ + "shard-2.h5: expected 2 features and 3 classes as in " + path_ +
                      "shard-1.h5, found 7 features and there 2",
                  path_ + "shard-3.h5: expected 2 features and 3 classes as in " + path_ +
                      "shard-1.h5, found 4 classes and there 3"});
  if (comm_.is_root()) test::write_file(path_ + "shard-4.h5", "not HDF5");
  wait();
  expect_refused({path_ + "shard-4.h5"});
}

TEST_F(Shards, RefuseATestShardOfAnotherKind) {
  write("shard-1.h5", {.sizes = {5, 4, 3, 2, 6}});
  write("test.h5", {.sizes = {4}, .features = 9});
  expect_refused({path_ + "test.h5: expected 2 features and 3 classes as in " + path_ +
                  "shard-1.h5, found 9 features and there 2"},
                 "test.h5");
}

TEST_F(Shards, AreMissed) {
  test::expect_error(ExitCode::bad_data, {"data.shards"}, [&] { roster(); });
}

// The first that names something counts, whichever rank reads it; who says nothing fits.
TEST_F(Shards, MeanTheSame) {
  write("shard-1.h5", {.sizes = {5, 4, 3, 6}});
  write("shard-2.h5", {.sizes = {3}, .columns = {"age", "weight"}});
  write("shard-3.h5", {.sizes = {4}, .label_names = {"no", "yes", "maybe"}});
  write("shard-4.h5", {.sizes = {4}, .columns = {"age", "weight"}, .label_names = {"no", "yes", "maybe"}});
  write("test.h5", {.sizes = {4}, .columns = {"age", "weight"}, .label_names = {"no", "maybe", "yes"}});
  const Roster r = roster();
  EXPECT_EQ(r.schema.columns, (Strings{"age", "weight"}));
  EXPECT_EQ(r.schema.label_names, (Strings{"no", "yes", "maybe"}));
  expect_refused({path_ + "test.h5: expected 2 features and 3 classes as in " + path_ +
                  "shard-3.h5, found class 1 is called 'maybe' and there 'yes'"},
                 "test.h5");
  write("shard-5.h5", {.sizes = {4}, .columns = {"weight", "age"}});
  write("shard-6.h5", {.sizes = {4}, .label_names = {"maybe", "no", "yes"}});
  expect_refused({path_ + "shard-5.h5: expected 2 features and 3 classes as in " + path_ +
                      "shard-2.h5, found column 0 is called 'weight' and there 'age'",
                  path_ + "shard-6.h5: expected 2 features and 3 classes as in " + path_ +
                      "shard-3.h5, found class 0 is called 'maybe' and there 'no'"});
}

TEST_F(Shards, MayHoldOneClassAlone) {
  write("shard-1.h5", {.sizes = {5, 4, 3, 6}, .classes = 1, .declared = false});
  write("test.h5", {.sizes = {5}, .classes = 1, .declared = false});
  EXPECT_EQ(roster().schema.classes, 1u);
  test::expect_error(ExitCode::bad_data, {"at least 2 classes", "the label 0 alone"},
                     [&] { roster().check_trainable(); });
  write("shard-2.h5", {.sizes = {5}, .declared = false});
  const Roster r = roster("test.h5");
  EXPECT_EQ(r.schema.classes, 3u);
  EXPECT_EQ(r.test_rows, 5u);
  r.check_trainable();
}

TEST_F(Shards, OfADirectoryAreAsManyAsTheySay) {
  const auto assemble_all = [&] { return assemble(comm_, path_, false); };
  write("shard-00000.h5", {.sizes = {5, 4, 3, 6}, .files = 2});
  test::expect_error(ExitCode::bad_data, {"expected 2 shards in " + path_, "shard-00000.h5 says, found 1"},
                     assemble_all);
  write("shard-00001.h5", {.sizes = {5}, .files = 2});
  EXPECT_EQ(assemble_all().clients, 5u);
  write("shard-00001 (copy).h5", {.sizes = {5}, .files = 2});
  test::expect_error(ExitCode::bad_data, {"expected 2 shards in " + path_, "shard-00000.h5 says, found 3"},
                     assemble_all);
  EXPECT_EQ(roster().clients, 6u) << "a pattern takes the files as they are";
}

// The last participant is lost, then the first.
TEST_F(Shards, AreTakenOver) {
  if (comm_.size() < 4) return;  // two of the participants are lost
  write("shard-1.h5", {.sizes = {5, 4, 3, 6, 2, 7}});
  write("shard-2.h5", {.sizes = {8, 1, 9}, .first = 1000});
  Roster r = assemble(comm_, path_ + "shard-*.h5", false, {}, true);
  r.learn_room(comm_, check_memory(comm_, 0, "nothing"), sizeof(float));
  for (const data::Host& host : r.hosts) EXPECT_GT(host.bytes, 0u);
  EXPECT_GT(r.spare.at(0), 0u);
  const std::uint64_t last = r.seats.participants - 1;
  bool lost = false;
  for (const std::uint64_t participant : {last, std::uint64_t{0}}) {
    lost = lost || r.seats.is_participant(participant);
    if (!lost) {
      const TakenOver taken = r.take_over(std::span(&participant, 1));
      EXPECT_EQ(taken.out_of_reach + taken.no_room, 0u);
    }
    std::array<std::uint64_t, 2> here = {lost ? 0 : r.mine.clients(), 0};
    for (const data::Block& b : r.mine.blocks()) here[1] += lost ? 0 : b.rows;
    comm_.all_sum(std::span<std::uint64_t>(here));
    EXPECT_EQ(here, (std::array<std::uint64_t, 2>{9, 45}));
  }
  std::vector<std::uint64_t> hosts;
  for (const data::Unit& u : r.units) hosts.push_back(u.participant);
  std::vector<std::uint64_t> of_root = hosts;
  comm_.broadcast(std::span(of_root));
  EXPECT_TRUE(lost || hosts == of_root);
}

}  // namespace
}  // namespace fedmpi::federation
