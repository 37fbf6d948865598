#include "data/import/idx.hpp"

#include <bit>

#include "fixtures.hpp"

namespace fedmpi::data {
namespace {

using test::expect_error;
using test::read_all;
using test::TemporaryDirectory;

std::string big_endian(std::uint64_t value, int bytes) {
  std::string text;
  for (int b = bytes; b-- > 0;) text += static_cast<char>(value >> 8 * b & 0xFF);
  return text;
}

std::string header(int type, const std::vector<std::uint32_t>& shape) {
  std::string text = big_endian(static_cast<std::uint64_t>(type) << 8 | shape.size(), 4);
  for (const std::uint32_t n : shape) text += big_endian(n, 4);
  return text;
}

const std::string kImages =
    header(0x08, {3, 2, 2}) + std::string("\x00\x01\x02\x03\xFF\xFE\xFD\xFC\x10\x20\x30\x40", 12);
const std::string kLabels = header(0x08, {3}) + std::string("\x02\x00\x01", 3);

TEST(Idx, ReadsBytesAsBytes) {
  const TemporaryDirectory dir;
  const auto source = open_idx(dir.write("images", kImages), dir.write_gz("labels.gz", kLabels));
  EXPECT_EQ(source->schema().feature_shape, (std::vector<std::size_t>{2, 2}));
  EXPECT_EQ(source->schema().type, FeatureType::uint8);
  EXPECT_FLOAT_EQ(source->schema().scale, 1.0F / 255.0F);
  EXPECT_TRUE(source->client_names().empty());
  const auto rows = read_all(*source);
  ASSERT_EQ(rows.size(), 3U);
  EXPECT_EQ(rows[0].features, (std::vector<float>{0, 1, 2, 3}));
  EXPECT_EQ(rows[1].features, (std::vector<float>{255, 254, 253, 252}));
  EXPECT_EQ(rows[0].label, 2);
  EXPECT_EQ(rows[2].label, 1);
  EXPECT_EQ(read_all(*source), rows);
}

TEST(Idx, ConvertsEveryOtherTypeToFloat) {
  const TemporaryDirectory dir;
  const std::string labels = dir.write("labels", header(0x08, {2}) + std::string("\0\1", 2));
  const std::vector<std::pair<int, std::string>> files = {
      {0x09, std::string("\x01\xFE", 2)},
      {0x0B, big_endian(1, 2) + big_endian(0xFFFE, 2)},
      {0x0C, big_endian(1, 4) + big_endian(0xFFFFFFFE, 4)},
      {0x0D, big_endian(std::bit_cast<std::uint32_t>(1.0F), 4) + big_endian(std::bit_cast<std::uint32_t>(-2.0F), 4)},
      {0x0E, big_endian(std::bit_cast<std::uint64_t>(1.0), 8) + big_endian(std::bit_cast<std::uint64_t>(-2.0), 8)}};
  for (const auto& [type, elements] : files) {
    const auto source = open_idx(dir.write("features", header(type, {2}) + elements), labels);
    EXPECT_EQ(source->schema().type, FeatureType::float32);
    const auto rows = read_all(*source);
    EXPECT_EQ(rows[0].features, std::vector<float>{1.0F}) << type;
    EXPECT_EQ(rows[1].features, std::vector<float>{-2.0F}) << type;
  }
}

TEST(Idx, RefusesAHeaderThatTheFileDoesNotFill) {
  const TemporaryDirectory dir;
  const std::string labels = dir.write("labels", kLabels);
  const auto refuses = [&](const std::string& content, const std::string& part) {
    for (const std::string& path : {dir.write("plain", content), dir.write_gz("zipped", content)})
      expect_error(ExitCode::bad_data, {path, part}, [&] { open_idx(path, labels); });
  };
  refuses("", "magic number");
  refuses(kImages.substr(0, 3), "magic number");
  refuses("\x01" + kImages.substr(1), "magic number");
  refuses(header(0x0A, {3}) + "abc", "magic number");
  refuses(header(0x08, {}) + "abc", "magic number");
  refuses(kImages.substr(0, 10), "end of the file after 1");
  refuses(kImages.substr(0, kImages.size() - 1), "expected 12 bytes of elements");
  refuses(kImages + "x", "found 13");
  refuses(header(0x08, {0, 2, 2}),
          "expected at least one example, with at least one element, found uint8 of shape 0 × 2 × 2");
  refuses(header(0x0D, {3, 2, 0}), "found float32 of shape 3 × 2 × 0");
  refuses(header(0x08, {3, 0xFFFFFFFF, 0xFFFFFFFF, 0xFFFFFFFF}) + "abc", "more than memory holds");
  refuses(header(0x08, {3, 0xFFFFFFFF}) + "abc", "expected 12884901885 bytes");
}

TEST(Idx, RefusesLabelsThatDoNotFit) {
  const TemporaryDirectory dir;
  const std::string images = dir.write("images", kImages);
  const auto refuses = [&](const std::string& labels, const std::string& part) {
    expect_error(ExitCode::bad_data, {"labels", part},
                 [&] { read_all(*open_idx(images, dir.write("labels", labels))); });
  };
  refuses(header(0x08, {2}) + std::string(2, '\0'), "expected 3 labels");
  refuses(header(0x08, {3, 2}) + std::string(6, '\0'), "one whole number per label, found uint8 of shape 3 × 2");
  refuses(header(0x0D, {3}) + std::string(12, '\0'), "one whole number per label, found float32 of shape 3");
  refuses(header(0x09, {3}) + "\x01\xFF\x01", "row 1: expected a label of 0 or more, found -1");
}

TEST(Idx, RefusesValuesThatAreNotFinite) {
  const TemporaryDirectory dir;
  const std::string labels = dir.write("labels", header(0x08, {2}) + std::string("\0\1", 2));
  for (const double bad : {std::nan(""), HUGE_VAL, 1e300}) {
    const std::string features =
        header(0x0E, {2, 2}) + std::string(24, '\0') + big_endian(std::bit_cast<std::uint64_t>(bad), 8);
    expect_error(ExitCode::bad_data, {"row 1", "finite", "element 1"},
                 [&] { read_all(*open_idx(dir.write("features", features), labels)); });
  }
}

TEST(IdxDirectory, FindsTheSplitsByTheirNames) {
  const TemporaryDirectory dir;
  expect_error(ExitCode::bad_data, {"found neither"}, [&] { open_idx_directory(dir.path()); });
  dir.write("train-images-idx3-ubyte", kImages);
  expect_error(ExitCode::bad_data, {"expected train-labels-idx1-ubyte", "train-images-idx3-ubyte"},
               [&] { open_idx_directory(dir.path()); });
  dir.write_gz("train-labels-idx1-ubyte.gz", kLabels);
  EXPECT_EQ(open_idx_directory(dir.path()).test, nullptr);
  dir.write_gz("t10k-images-idx3-ubyte.gz", kImages);
  dir.write_gz("t10k-labels-idx1-ubyte.gz", kLabels);
  const Input splits = open_idx_directory(dir.path());
  EXPECT_EQ(read_all(*splits.test), read_all(*splits.train));
}

}  // namespace
}  // namespace fedmpi::data
