#include "base/checksum.hpp"

#include <gtest/gtest.h>

#include <algorithm>
#include <set>
#include <vector>

#include "base/random.hpp"

namespace fedmpi {
namespace {

std::vector<std::byte> random_bytes(std::size_t n) {
  Stream stream(3, Purpose::generate);
  std::vector<std::byte> bytes(n);
  for (std::byte& b : bytes) b = static_cast<std::byte>(stream.below(256));
  return bytes;
}

// Around the words of 8 bytes and the 256 bytes that are taken in one step.
constexpr std::size_t kLengths[] = {1, 7, 8, 9, 31, 64, 255, 256, 257, 264, 511, 512, 515, 1000};

TEST(DataChecksum, ChangesWithEveryByte) {
  for (const std::size_t n : kLengths) {
    std::vector<std::byte> bytes = random_bytes(n);
    std::set<std::uint64_t> sums = {checksum(bytes)};
    for (std::size_t i = 0; i < n; ++i) {
      bytes[i] ^= std::byte{1};
      sums.insert(checksum(bytes));
      bytes[i] ^= std::byte{1};
    }
    EXPECT_EQ(sums.size(), n + 1) << n << " bytes";
  }
}

TEST(DataChecksum, ChangesWithTheOrderOfWords) {
  const std::vector<std::byte> bytes = random_bytes(768);
  std::set<std::uint64_t> sums = {checksum(bytes)};
  std::size_t orders = 1;
  for (std::size_t i = 0; i < 96; i += 5)
    for (std::size_t j = i + 1; j < 96; j += 3, ++orders) {
      std::vector<std::byte> swapped = bytes;
      std::swap_ranges(swapped.data() + 8 * i, swapped.data() + 8 * i + 8, swapped.data() + 8 * j);
      sums.insert(checksum(swapped));
    }
  EXPECT_EQ(sums.size(), orders);
}

TEST(DataChecksum, ChangesWithTheLengthAndWithWhatCameBefore) {
  const std::vector<std::byte> zeros(1000);
  std::set<std::uint64_t> sums;
  for (std::size_t n = 0; n <= 1000; ++n) sums.insert(checksum(std::span(zeros).first(n)));
  EXPECT_EQ(sums.size(), 1001u);
  for (const std::size_t n : kLengths)
    EXPECT_NE(checksum(std::span(zeros).first(n), 1), checksum(std::span(zeros).first(n), 2));
}

// Checkpoints keep it, and builds for other processors read them.
TEST(DataChecksum, IsTheSameOnEveryMachine) {
  std::vector<std::byte> bytes(1003);
  for (std::size_t i = 0; i < bytes.size(); ++i) bytes[i] = static_cast<std::byte>(i * 7 % 251);
  EXPECT_EQ(checksum(bytes), 0x4b20002f8fe35b3du);
  EXPECT_EQ(checksum(std::span(bytes).first(100)), 0x42a0f46125325ea9u);
}

}  // namespace
}  // namespace fedmpi
