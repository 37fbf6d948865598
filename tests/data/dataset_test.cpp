#include "data/dataset.hpp"

#include <gtest/gtest.h>

#include "support/examples.hpp"

namespace fedmpi::data {
namespace {

using Columns = std::vector<std::vector<float>>;

Columns columns(const ConstMatrixView& m) {
  Columns c;
  for (Eigen::Index i = 0; i < m.cols(); ++i) c.emplace_back(m.col(i).begin(), m.col(i).end());
  return c;
}

Block block_of_bytes() {
  Block block;
  block.schema = test::classification(2, 10);
  block.schema.type = FeatureType::uint8;
  block.schema.scale = 0.5F;
  block.schema.offset = -1.0F;
  block.bytes = {0, 2, 4, 6, 8, 10, 12, 255};
  block.labels = {7, 5, 3, 1};
  block.rows = 4;
  return block;
}

TEST(Gather, TakesRowsInTheGivenOrder) {
  const Block block = block_of_bytes();
  BatchBuffer buffer(block.schema, 3);
  const std::vector<std::uint32_t> order = {2, 0, 1};
  const Batch batch = block.gather(1, order, buffer);
  EXPECT_EQ(batch.size, 3u);
  EXPECT_EQ(columns(batch.features), (Columns{{5, 126.5F}, {1, 2}, {3, 4}}));
  EXPECT_EQ(std::vector<std::int32_t>(batch.labels.begin(), batch.labels.end()), (std::vector<std::int32_t>{1, 5, 3}));
  EXPECT_EQ(batch.targets.cols(), 0);
}

TEST(Gather, TakesConsecutiveRowsWithoutAnOrder) {
  const Block block = block_of_bytes();
  BatchBuffer buffer(block.schema, 4);
  const Batch batch = block.gather(2, 2, buffer);
  EXPECT_EQ(columns(batch.features), (Columns{{3, 4}, {5, 126.5F}}));
  EXPECT_EQ(std::vector<std::int32_t>(batch.labels.begin(), batch.labels.end()), (std::vector<std::int32_t>{3, 1}));
}

TEST(Gather, PrefetchesARowOfWhatComesNextWithEachRow) {
  const Block block = block_of_bytes();
  const ClientExamples next{.id = 0, .block = &block, .first = 1, .size = 3};
  BatchBuffer buffer(block.schema, 4);
  buffer.to_prefetch = next.to_prefetch();
  EXPECT_EQ(buffer.to_prefetch.data(), reinterpret_cast<const std::byte*>(&block.bytes[2]));
  EXPECT_EQ(buffer.to_prefetch.size(), 6u);
  block.gather(0, 2, buffer);
  EXPECT_EQ(buffer.to_prefetch.data(), reinterpret_cast<const std::byte*>(&block.bytes[6]));
  EXPECT_EQ(buffer.to_prefetch.size(), 2u);
  block.gather(0, 4, buffer);
  EXPECT_TRUE(buffer.to_prefetch.empty());
}

TEST(Gather, PrefetchesNoMoreThanFindsRoomInTheCacheAndNothingOnFile) {
  Block block = test::random_block(test::classification(4, 3), {5'000, 2}, 1, 0);
  EXPECT_EQ((ClientExamples{.id = 0, .block = &block, .first = 0, .size = 5'000}).to_prefetch().size(), 65'536u);
  block.on_file.emplace();
  EXPECT_TRUE((ClientExamples{.id = 1, .block = &block, .first = 5'000, .size = 2}).to_prefetch().empty());
}

TEST(Gather, TakesNumbersAndTargetsAsTheyAre) {
  Block block;
  block.schema = test::regression(2, 3);
  block.numbers = {1, 2, 3, 4};
  block.targets = {10, 11, 12, 20, 21, 22};
  block.rows = 2;
  BatchBuffer buffer(block.schema, 2);
  const Batch batch = block.gather(0, std::vector<std::uint32_t>{1, 0}, buffer);
  EXPECT_EQ(columns(batch.features), (Columns{{3, 4}, {1, 2}}));
  EXPECT_EQ(columns(batch.targets), (Columns{{20, 21, 22}, {10, 11, 12}}));
  EXPECT_TRUE(batch.labels.empty());
}

// Clients 3, 4, 5 and, after a gap, 9 and 10.
Dataset dataset() {
  const Schema schema = test::classification(4, 3);
  return Dataset({test::random_block(schema, {5, 1, 7}, 1, 3), test::random_block(schema, {2, 11}, 2, 9)});
}

TEST(Dataset, FindsItsClients) {
  const Dataset d = dataset();
  for (ClientId id = 0; id < 15; ++id) EXPECT_EQ(d.has(id), (id >= 3 && id <= 5) || id == 9 || id == 10) << id;
  EXPECT_FALSE(d.has(UINT64_MAX));
  const ClientExamples last = d.client(10), middle = d.client(4);
  EXPECT_EQ(last.id, 10u);
  EXPECT_EQ(last.block, &d.blocks()[1]);
  EXPECT_EQ(last.first, 2u);
  EXPECT_EQ(last.size, 11u);
  EXPECT_EQ(middle.block, &d.blocks()[0]);
  EXPECT_EQ(middle.first, 5u);
  EXPECT_EQ(middle.size, 1u);
}

TEST(Dataset, CountsWhatItHolds) {
  const Dataset d = dataset();
  EXPECT_EQ(d.clients(), 5u);
  EXPECT_EQ(d.largest_client(), 11u);
  EXPECT_GE(d.memory(), 26u * (4 * sizeof(float) + sizeof(std::int32_t)) + 7 * sizeof(std::uint64_t));
}

TEST(Dataset, MayBeEmpty) {
  const Dataset d;
  EXPECT_FALSE(d.has(0));
  EXPECT_EQ(d.clients(), 0u);
  EXPECT_EQ(d.largest_client(), 0u);
  EXPECT_EQ(d.memory(), 0u);
}

TEST(Checksum, TellsRowsApart) {
  for (Schema schema : {test::classification(3, 4), test::regression(3, 2)})
    for (const FeatureType type : {FeatureType::uint8, FeatureType::float32}) {
      schema.type = type;
      const Block block = test::random_block(schema, {9});
      const std::uint64_t sum = block.checksum_of(2, 5);
      EXPECT_EQ(block.checksum_of(2, 5), sum);
      EXPECT_NE(block.checksum_of(3, 5), sum);
      const auto changes_with = [&](auto member, std::size_t width) {
        if ((block.*member).empty()) return;
        Block inside = block, outside = block;
        (inside.*member)[6 * width] += 1;  // row 6 is in, row 7 is not
        (outside.*member)[7 * width] += 1;
        EXPECT_NE(inside.checksum_of(2, 5), sum);
        EXPECT_EQ(outside.checksum_of(2, 5), sum);
      };
      changes_with(&Block::bytes, 3);
      changes_with(&Block::numbers, 3);
      changes_with(&Block::labels, 1);
      changes_with(&Block::targets, 2);
    }
}

// From memory of malloc's to large pages, and from one mapping to the next.
TEST(StoredVector, KeepsWhatItHoldsAsItGrows) {
  StoredVector<std::uint32_t> grown;
  for (std::uint32_t i = 0; i < 3'000'000; ++i) grown.push_back(i);
  const StoredVector<std::uint32_t> copy = grown;
  EXPECT_EQ(reinterpret_cast<std::uintptr_t>(copy.data()) % kLargePage, 0u);
  const StoredVector<std::uint32_t> moved = std::move(grown);
  for (std::uint32_t i = 0; i < moved.size(); ++i) ASSERT_EQ(moved[i], i);
  EXPECT_EQ(copy, moved);
}

}  // namespace
}  // namespace fedmpi::data
