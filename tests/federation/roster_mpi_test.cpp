#include "federation/roster.hpp"

#include <gtest/gtest.h>

#include <algorithm>
#include <filesystem>
#include <limits>
#include <map>
#include <numeric>

#include "hdf5/file.hpp"
#include "mpi/collective_error.hpp"
#include "support/expect_error.hpp"
#include "support/temporary_directory.hpp"

namespace fedmpi::federation {
namespace {

using Strings = std::vector<std::string>;
constexpr float kNaN = std::numeric_limits<float>::quiet_NaN();

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

  // Rank 0 writes a shard of clients of these sizes. Feature 0 of row r is `first` + r; labels go round `classes`.
  void write(const std::string& name, const std::vector<std::uint64_t>& sizes, float first = 0.0F,
             std::uint64_t classes = 3, std::size_t features = 2, std::size_t bad_row = SIZE_MAX) {
    if (comm_.is_root()) {
      const std::size_t rows = std::accumulate(sizes.begin(), sizes.end(), std::size_t{0});
      std::vector<float> numbers(rows * features);
      std::vector<std::int32_t> labels(rows);
      Strings names;
      std::vector<std::uint64_t> offsets = {0};
      for (std::size_t r = 0; r < rows; ++r) {
        numbers[r * features] = r == bad_row ? kNaN : first + static_cast<float>(r);
        labels[r] = static_cast<std::int32_t>(r % classes);
      }
      for (const std::uint64_t n : sizes) {
        names.push_back(name.substr(0, name.size() - 3) + "/" + std::to_string(names.size()));
        offsets.push_back(offsets.back() + n);
      }
      hdf5::File file = hdf5::File::create(path_ + name);
      file.set_text("format", "fedmpi-shard");
      file.set_integers("version", std::vector<std::uint64_t>{1});
      file.set_text("task", "classification");
      file.set_integers("classes", std::vector<std::uint64_t>{classes});
      file.create_dataset<float>("/features", {rows, features}).write(0, rows, std::span<const float>(numbers));
      file.create_dataset<std::int32_t>("/labels", {rows}).write(0, rows, std::span<const std::int32_t>(labels));
      file.create_dataset<std::uint64_t>("/clients/offsets", {offsets.size()})
          .write(0, offsets.size(), std::span<const std::uint64_t>(offsets));
      file.write_strings("/clients/names", names);
      file.close();
    }
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
  write("shard-1.h5", {5, 1, 4, 3, 2, 6, 7, 2});
  write("shard-2.h5", {2, 9}, 1000);
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
  r.check_none_idle(participants(comm_));

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
  write("shard-1.h5", {5, 4});
  const std::string first = roster().digest;
  const auto digest_with = [&](auto change) {
    if (comm_.is_root()) std::filesystem::remove(path_ + "shard-1.h5");
    change();
    return roster().digest;
  };
  const std::string same = digest_with([&] { write("shard-1.h5", {5, 4}); });
  const std::string other_sizes = digest_with([&] { write("shard-1.h5", {4, 5}); });
  const std::string other_values = digest_with([&] { write("shard-1.h5", {5, 4}, 1.0F); });
  if (!comm_.is_root()) return;
  EXPECT_EQ(same, first);
  EXPECT_NE(other_sizes, first);
  EXPECT_NE(other_values, first);
}

TEST_F(Shards, ShareOutTheTestRowsInWholeBlocks) {
  constexpr std::size_t kRows = 7 * kEvaluationRows + 5;
  write("shard-1.h5", {5, 4, 3, 2, 1, 6, 7, 8});
  write("test.h5", {kRows});
  const Roster r = roster("test.h5");
  EXPECT_EQ(r.test_rows, kRows);
  EXPECT_EQ(r.test.first_row % kEvaluationRows, 0u);
  EXPECT_TRUE(r.test.rows == 0 || r.test.numbers[0] == static_cast<float>(r.test.first_row));
  EXPECT_EQ(test_runs(r), (std::vector<std::uint64_t>{256, 256, 256, 256, 256, 256, 256, 5}));
}

// The blocks are rows of the file, also where bad rows are left out: the same for any number of ranks.
TEST_F(Shards, ShareOutTheSameTestBlocksWithoutBadRows) {
  write("shard-1.h5", {5, 4, 3, 2, 1, 6, 7, 8});
  write("test.h5", {3 * kEvaluationRows}, 0, 3, 2, kEvaluationRows + 9);
  const Roster r = roster("test.h5", true);
  EXPECT_EQ(r.test_rows, 3 * kEvaluationRows - 1);
  EXPECT_EQ(test_runs(r), (std::vector<std::uint64_t>{256, 255, 256}));
}

TEST_F(Shards, MayHaveFewerTestBlocksThanRanks) {
  write("shard-1.h5", {5, 4, 3, 2, 1, 6, 7, 8});
  write("test.h5", {4});
  const Roster r = roster("test.h5");
  EXPECT_EQ(r.test_rows, 4u);
  EXPECT_EQ(test_runs(r), (std::vector<std::uint64_t>{4}));
}

TEST_F(Shards, DropBadRowsWhereAsked) {
  write("shard-1.h5", {5, 4, 3, 2, 6}, 0, 3, 2, 6);
  const Roster r = roster("", true);
  EXPECT_EQ(r.dropped, 1u);
  EXPECT_EQ(r.examples, 19u);
  EXPECT_TRUE(!comm_.is_root() || r.sizes[1] == 3);
  expect_refused({path_ + "shard-1.h5", "row 6"});
}

TEST_F(Shards, AreRefusedByAllRanksWithEveryOffender) {
  write("shard-1.h5", {5, 4, 3, 6});
  write("shard-2.h5", {5, 4, 3}, 0, 3, 7);
  write("shard-3.h5", {5, 4}, 0, 4);
  expect_refused({path_ + "shard-2.h5: expected 2 features", "found 7 features", path_ + "shard-3.h5", "4 classes"});
  if (comm_.is_root()) test::write_file(path_ + "shard-4.h5", "not HDF5");
  wait();
  expect_refused({path_ + "shard-4.h5"});
}

TEST_F(Shards, RefuseATestShardOfAnotherKind) {
  write("shard-1.h5", {5, 4, 3, 2, 6});
  write("test.h5", {4}, 0, 3, 9);
  expect_refused({path_ + "test.h5", "expected 2 features", "found 9"}, "test.h5");
}

TEST_F(Shards, AreMissed) {
  test::expect_error(ExitCode::bad_data, {"data.shards"}, [&] { roster(); });
}

TEST(RosterIdle, NamesTheRanksWithoutClients) {
  Roster r;
  r.clients = 2;
  r.units = {{0, 0, 1, 5, 2}, {0, 1, 1, 5, 0}};
  test::expect_error(ExitCode::usage, {"2 for 5 participants", "rank 2, 4, 5"}, [&] { r.check_none_idle(5); });
}

}  // namespace
}  // namespace fedmpi::federation
