// Clients beyond the budget: read from their file in their turn, and the same as if all were held.
#include "data/prefetcher.hpp"

#include <gtest/gtest.h>

#include <atomic>
#include <numeric>

#include "base/thread_pool.hpp"
#include "data/loader.hpp"
#include "hdf5/file.hpp"
#include "support/examples.hpp"
#include "support/expect_error.hpp"
#include "support/temporary_directory.hpp"

namespace fedmpi::data {
namespace {

using test::expect_error;

constexpr std::size_t kFeatures = 512;
const std::vector<std::uint64_t> kSizes = {300, 1, 700, 20, 900, 450, 33, 1000, 8, 256, 512, 640, 90, 5, 410, 77};

// A shard of clients of these sizes, all values random, as a block that is held would be.
class OnFileClients : public testing::Test {
 protected:
  void write(Schema schema, std::size_t bad_row = SIZE_MAX, std::uint64_t seed = 1) {
    Block all = test::random_block(schema, kSizes, seed);
    if (bad_row != SIZE_MAX) all.labels[bad_row] = -1;
    std::remove(path_.c_str());
    hdf5::File file = hdf5::File::create(path_);
    const bool classification = schema.task == Task::classification;
    file.set_text("format", "fedmpi-shard");
    file.set_integers("version", std::vector<std::uint64_t>{1});
    file.set_text("task", classification ? "classification" : "regression");
    if (classification) file.set_integers("classes", std::vector<std::uint64_t>{schema.classes});
    const std::vector<std::size_t> shape = {all.rows, kFeatures};
    if (schema.type == FeatureType::uint8)
      file.create_dataset<std::uint8_t>("/features", shape)
          .write(0, all.rows, std::span<const std::uint8_t>(all.bytes));
    else
      file.create_dataset<float>("/features", shape).write(0, all.rows, std::span<const float>(all.numbers));
    if (classification)
      file.create_dataset<std::int32_t>("/labels", {all.rows})
          .write(0, all.rows, std::span<const std::int32_t>(all.labels));
    else
      file.create_dataset<float>("/labels", {all.rows, schema.targets})
          .write(0, all.rows, std::span<const float>(all.targets));
    file.create_dataset<std::uint64_t>("/clients/offsets", {all.offsets.size()})
        .write(0, all.offsets.size(), std::span<const std::uint64_t>(all.offsets));
    file.close();
  }
  Dataset loaded(Budget budget, bool skip_bad = false) {
    const std::size_t half = kSizes.size() / 2;  // two parts of one file
    const std::vector<Part> parts = {{path_, 0, half, examples(0, half), 100},
                                     {path_, half, kSizes.size() - half, examples(half, kSizes.size()), 100 + half}};
    return load(parts, Shard::open(path_)->schema(), skip_bad, budget);
  }
  static std::size_t examples(std::size_t first, std::size_t end) {
    return std::accumulate(&kSizes[first], kSizes.data() + end, std::size_t{0});
  }
  // All clients that have examples, the largest first as a round has them.
  static std::vector<ClientExamples> clients(const Dataset& dataset) {
    std::vector<ClientId> ids(kSizes.size());
    std::iota(ids.begin(), ids.end(), ClientId{100});
    std::vector<ClientExamples> found;
    dataset.find(ids, found);
    std::stable_sort(found.begin(), found.end(), [](const auto& a, const auto& b) { return a.size > b.size; });
    return found;
  }
  // The checksum of each client's values, gathered in a pass of so many threads.
  static std::vector<std::uint64_t> checksums(const Dataset& dataset, std::size_t threads) {
    const std::vector<ClientExamples> list = clients(dataset);
    std::vector<std::uint64_t> sums(list.size());
    ThreadPool pool(threads);
    dataset.prefetcher().start(list);
    pool.run(list.size(), [&](std::size_t worker, std::size_t i) {
      const ClientExamples c = dataset.prefetcher().take(worker, i);
      EXPECT_EQ(c.id, list[i].id);
      EXPECT_EQ(c.size, list[i].size);
      EXPECT_FALSE(c.block->on_file);
      BatchBuffer buffer(c.block->schema, c.size);
      const Batch batch = c.block->gather(c.first, c.size, buffer);
      EXPECT_EQ(batch.size, c.size);
      sums[i] = c.block->checksum_of(c.first, c.size);
    });
    return sums;
  }
  static std::size_t on_file(const Dataset& dataset) {
    const std::vector<ClientExamples> list = clients(dataset);
    return static_cast<std::size_t>(
        std::count_if(list.begin(), list.end(), [](const auto& c) { return c.block->on_file.has_value(); }));
  }

  test::TemporaryDirectory directory_;
  std::string path_ = directory_ / "shard.h5";
};

Schema bytes_of_ten_classes() {
  Schema schema = test::classification(kFeatures, 10);
  schema.type = FeatureType::uint8;
  return schema;
}

TEST_F(OnFileClients, AreTheSameAsIfTheyWereHeld) {
  for (const Schema& schema :
       {bytes_of_ten_classes(), test::classification(kFeatures, 10), test::regression(kFeatures, 3)}) {
    write(schema);
    const std::size_t total = 5402 * schema.example_bytes(), largest = 1000 * schema.example_bytes();
    const Dataset all = loaded({});
    const std::vector<std::uint64_t> expected = checksums(all, 1);
    EXPECT_EQ(on_file(all), 0u);
    EXPECT_EQ(on_file(loaded({total, 1})), 0u) << "they fit";
    for (const std::size_t threads : std::initializer_list<std::size_t>{1, 2, 3}) {
      for (const std::size_t budget : {(threads + 1) * largest, total - 1}) {
        const Dataset some = loaded({budget, threads});
        EXPECT_GT(on_file(some), 0u);
        // Numbers of 8 bytes per client: a few more than its examples.
        EXPECT_LE(some.memory(), budget + 64 * kSizes.size());
        EXPECT_EQ(some.clients(), kSizes.size());
        EXPECT_EQ(some.largest_client(), 1000u);
        for (int pass = 0; pass < 3; ++pass) EXPECT_EQ(checksums(some, threads), expected) << threads << ", " << budget;
        for (std::size_t b = 0, run = 0; b < some.blocks().size(); ++b)
          for (std::size_t r = 0; r < some.blocks()[b].runs(); ++r, ++run) {
            const ClientExamples held = all.client(100 + run);
            EXPECT_EQ(some.blocks()[b].checksum_of_run(r), held.block->checksum_of(held.first, held.size));
          }
      }
    }
  }
}

TEST_F(OnFileClients, LeaveOutTheirBadRows) {
  write(bytes_of_ten_classes(), 5400);  // one of the 77 rows of the last client
  expect_error(ExitCode::bad_data, {path_, "row 5400", "-1"}, [&] { loaded({2 << 20, 1}); });
  const Dataset some = loaded({2 << 20, 1}, true);
  EXPECT_EQ(some.client(115).size, 76u);
  EXPECT_NE(some.client(115).block->on_file, std::nullopt);
  EXPECT_EQ(some.blocks().back().dropped, 1u);
  EXPECT_EQ(checksums(some, 1), checksums(loaded({}, true), 1));
}

TEST_F(OnFileClients, AreMissedWhenTheFileIsChanged) {
  write(bytes_of_ten_classes());
  const Dataset some = loaded({2 << 20, 1});
  const std::vector<ClientExamples> list = clients(some);
  EXPECT_EQ(checksums(some, 1).size(), list.size());
  // One bit of the last row, in place: the checksum of its chunk is not looked at again, that of the client is.
  const Block all = test::random_block(bytes_of_ten_classes(), kSizes);
  std::string content = test::read_file(path_);
  const std::size_t at = content.find({reinterpret_cast<const char*>(&all.bytes[5401 * kFeatures]), kFeatures});
  ASSERT_NE(at, std::string::npos);
  content[at + 7] = static_cast<char>(content[at + 7] ^ 1);
  test::write_file(path_, content);
  expect_error(ExitCode::bad_data, {path_, "rows 5325 to 5401", "damaged or has been changed"},
               [&] { checksums(some, 1); });
  expect_error(ExitCode::bad_data, {"damaged or has been changed"}, [&] { checksums(some, 1); });
}

TEST_F(OnFileClients, MayBeLeftInTheMiddleOfAPass) {
  write(bytes_of_ten_classes());
  const Dataset some = loaded({3 << 20, 2});
  const std::vector<std::uint64_t> expected = checksums(loaded({}), 1);
  const std::vector<ClientExamples> list = clients(some);
  for (std::size_t taken = 0; taken < list.size(); ++taken) {
    some.prefetcher().start(list);
    for (std::size_t i = 0; i < taken; ++i) some.prefetcher().take(i % 2, i);
  }
  EXPECT_EQ(checksums(some, 2), expected);
}

TEST_F(OnFileClients, NeedRoomForOneEachThreadAndOneMore) {
  write(bytes_of_ten_classes());  // the largest client has 504 KiB
  expect_error(ExitCode::usage, {"data.memory", "at least 3 MiB", "each of 4 threads", "found 2"}, [&] {
    loaded({2 << 20, 4});
  });
  loaded({3 << 20, 4});
}

}  // namespace
}  // namespace fedmpi::data
