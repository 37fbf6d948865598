#include "data/tff.hpp"

#include "data/import/tff.hpp"
#include "fixtures.hpp"

namespace fedmpi::data {
namespace {

using test::expect_error;
using test::read_all;
using test::TemporaryDirectory;

template <class T>
void put(hdf5::File& file, const std::string& path, const std::vector<std::size_t>& shape,
         const std::vector<T>& values) {
  file.create_dataset<T>(path, shape).write(0, shape[0], std::span<const T>(values));
}

// Two clients as in EMNIST, of two and one examples of 1 × 2 pixels.
std::string write_emnist(const TemporaryDirectory& dir, const std::vector<float>& pixels,
                         const std::vector<std::int32_t>& labels) {
  hdf5::File file = hdf5::File::create(dir / "emnist.h5");
  put<float>(file, "/examples/f01/pixels", {2, 1, 2}, pixels);
  put<std::int32_t>(file, "/examples/f01/label", {2}, labels);
  put<float>(file, "/examples/f00/pixels", {1, 1, 2}, {1.0F, 0.5F});
  put<std::int32_t>(file, "/examples/f00/label", {1}, {7});
  file.close();
  return dir / "emnist.h5";
}

TEST(Tff, ReadsEmnistWithItsClients) {
  const TemporaryDirectory dir;
  const auto source = open_tff(write_emnist(dir, {0, 1, 2, 3}, {4, 5}));
  EXPECT_EQ(source->schema().feature_shape, (std::vector<std::size_t>{1, 2}));
  EXPECT_EQ(source->schema().type, FeatureType::float32);
  EXPECT_EQ(source->client_names(), (std::vector<std::string>{"f00", "f01"}));
  const auto rows = read_all(*source);
  ASSERT_EQ(rows.size(), 3U);
  EXPECT_EQ(rows[0], (test::Row{{1.0F, 0.5F}, 7, {}, 0}));
  EXPECT_EQ(rows[1], (test::Row{{0, 1}, 4, {}, 1}));
  EXPECT_EQ(rows[2], (test::Row{{2, 3}, 5, {}, 1}));
  EXPECT_EQ(read_all(*source), rows);
}

TEST(Tff, ReadsCifarWithLabelsAsAColumnAndBlocksOfRows) {
  const TemporaryDirectory dir;
  constexpr std::size_t kRows = 400, kFeatures = 32 * 32 * 3;  // more than one block of 1 MiB
  std::vector<std::uint8_t> image(kRows * kFeatures);
  std::vector<std::int64_t> labels(kRows);
  for (std::size_t i = 0; i < image.size(); ++i) image[i] = static_cast<std::uint8_t>(i * 31 + i / kFeatures);
  for (std::size_t i = 0; i < kRows; ++i) labels[i] = static_cast<std::int64_t>(i % 100);
  hdf5::File file = hdf5::File::create(dir / "cifar.h5");
  put(file, "/examples/0/image", {kRows, 32, 32, 3}, image);
  put(file, "/examples/0/label", {kRows, 1}, labels);
  put(file, "/examples/0/coarse_label", {kRows, 1}, labels);
  file.close();

  const auto source = open_tff(dir / "cifar.h5");
  EXPECT_EQ(source->schema().type, FeatureType::uint8);
  EXPECT_FLOAT_EQ(source->schema().scale, 1.0F / 255.0F);
  const auto rows = read_all(*source);
  ASSERT_EQ(rows.size(), kRows);
  for (std::size_t i = 0; i < kRows; ++i) {
    EXPECT_EQ(rows[i].label, labels[i]);
    EXPECT_EQ(rows[i].features.front(), image[i * kFeatures]);
    EXPECT_EQ(rows[i].features.back(), image[(i + 1) * kFeatures - 1]);
  }
}

TEST(Tff, RefusesWhatDoesNotFit) {
  {
    const TemporaryDirectory dir;
    expect_error(ExitCode::bad_data, {"/examples/f01/pixels", "finite", "float32", "row 1"}, [&] {
      read_all(*open_tff(write_emnist(dir, {0, 1, 2, HUGE_VALF}, {4, 5})));
    });
  }
  {
    const TemporaryDirectory dir;
    expect_error(ExitCode::bad_data, {"/examples/f01/label", "-5 in row 1"}, [&] {
      read_all(*open_tff(write_emnist(dir, {0, 1, 2, 3}, {4, -5})));
    });
  }
  const auto refuses = [](const std::string& part, auto&& fill) {
    const TemporaryDirectory dir;
    hdf5::File file = hdf5::File::create(dir / "file.h5");
    fill(file);
    file.close();
    expect_error(ExitCode::bad_data, {"file.h5", part}, [&] { read_all(*open_tff(dir / "file.h5")); });
  };
  refuses("labels from 0 to 2147483647, found 4294967296 in row 1", [](hdf5::File& f) {
    put<float>(f, "/examples/a/x", {2, 3}, std::vector<float>(6));
    put<std::int64_t>(f, "/examples/a/y", {2}, {0, std::int64_t{1} << 32});
  });
  refuses("/examples", [](hdf5::File&) {});
  refuses("a group per client", [](hdf5::File& f) { f.create_group("/examples"); });
  refuses("'snippets'", [](hdf5::File& f) {
    f.write_strings("/examples/a/snippets", std::vector<std::string>{"to be", "or not"});
  });
  refuses("one per example", [](hdf5::File& f) {
    put<float>(f, "/examples/a/x", {2, 3}, std::vector<float>(6));
    put<std::int32_t>(f, "/examples/a/y", {3}, {0, 1, 2});
  });
  refuses("as in the first client", [](hdf5::File& f) {
    put<float>(f, "/examples/a/x", {1, 3}, std::vector<float>(3));
    put<std::int32_t>(f, "/examples/a/y", {1}, {0});
    put<float>(f, "/examples/b/x", {1, 4}, std::vector<float>(4));
    put<std::int32_t>(f, "/examples/b/y", {1}, {0});
  });
  refuses("float32 [1 × 3] for an example as in the first client, found uint8 [1 × 3]", [](hdf5::File& f) {
    put<float>(f, "/examples/a/x", {1, 1, 3}, std::vector<float>(3));
    put<std::int32_t>(f, "/examples/a/y", {1}, {0});
    put<std::uint8_t>(f, "/examples/b/x", {1, 1, 3}, std::vector<std::uint8_t>(3));
    put<std::int32_t>(f, "/examples/b/y", {1}, {0});
  });
  refuses("found 0.5 in row 1", [](hdf5::File& f) {
    put<float>(f, "/examples/a/x", {2, 3}, std::vector<float>(6));
    put<float>(f, "/examples/a/y", {2}, {1, 0.5F});
  });
}

}  // namespace
}  // namespace fedmpi::data
