#include "data/shard.hpp"

#include <gtest/gtest.h>

#include <cmath>
#include <filesystem>
#include <limits>

#include "hdf5/file.hpp"
#include "support/expect_error.hpp"
#include "support/temporary_directory.hpp"

namespace fedmpi::data {
namespace {

using test::expect_error;
using test::TemporaryDirectory;

constexpr float kNaN = std::numeric_limits<float>::quiet_NaN();
using Strings = std::vector<std::string>;
using Numbers = std::vector<float>;
using Labels = std::vector<std::int32_t>;
using Offsets = std::vector<std::uint64_t>;

// What a shard is written from; by default 6 examples of 2 features and 3 classes, of clients ada, bob and eve.
struct Content {
  std::string format = "fedmpi-shard", task = "classification";
  std::uint64_t version = 1;
  std::vector<std::uint64_t> classes = {3};  // empty: not declared
  std::vector<std::size_t> shape = {6, 2};
  Numbers features = {0, 1, 10, 11, 20, 21, 30, 31, 40, 41, 50, 51};
  Labels labels = {0, 1, 2, 0, 1, 2};
  Numbers targets;  // regression: 2 per example
  Offsets offsets = {0, 3, 4, 6};
  Strings names = {"ada", "bob", "eve"};
  bool bytes = false;
  double scale = 0.1;  // of bytes
  Offsets feature_shape;
};

class ShardFile : public testing::Test {
 protected:
  std::string write(const Content& c) {
    const std::string path = directory_ / (std::to_string(written_++) + ".h5");
    hdf5::File file = hdf5::File::create(path);
    file.set_text("format", c.format);
    file.set_integers("version", std::vector<std::uint64_t>{c.version});
    file.set_text("task", c.task);
    if (!c.classes.empty()) file.set_integers("classes", c.classes);
    if (!c.feature_shape.empty()) file.set_integers("feature_shape", c.feature_shape);
    if (c.bytes) {
      const std::vector<std::uint8_t> bytes(c.features.begin(), c.features.end());
      file.create_dataset<std::uint8_t>("/features", c.shape).write(0, c.shape[0], std::span(bytes));
      file.set_number("scale", c.scale, "/features");
      file.set_number("offset", 3.0, "/features");
    } else {
      file.create_dataset<float>("/features", c.shape).write(0, c.shape[0], std::span(c.features));
    }
    if (c.targets.empty())
      file.create_dataset<std::int32_t>("/labels", {c.labels.size()}).write(0, c.labels.size(), std::span(c.labels));
    else
      file.create_dataset<float>("/labels", {c.targets.size() / 2, 2})
          .write(0, c.targets.size() / 2, std::span(c.targets));
    if (!c.offsets.empty()) {
      file.create_dataset<std::uint64_t>("/clients/offsets", {c.offsets.size()})
          .write(0, c.offsets.size(), std::span(c.offsets));
      if (!c.names.empty()) file.write_strings("/clients/names", c.names);
    }
    file.close();
    return path;
  }
  std::unique_ptr<Shard> shard(const Content& c) { return Shard::open(write(c)); }
  void refuses(const Content& c, const Strings& parts) {
    const std::string path = write(c);
    Strings with_path = parts;
    with_path.push_back(path);
    expect_error(ExitCode::bad_data, with_path, [&] { Shard::open(path); });
  }

  TemporaryDirectory directory_;
  int written_ = 0;
};

Content regression_content() {
  Content c;
  c.task = "regression";
  c.classes = {};
  c.labels = {};
  c.targets = {0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11};
  return c;
}

template <class Values>
auto plain(const Values& v) {
  return std::vector<typename Values::value_type>(v.begin(), v.end());
}

TEST_F(ShardFile, ReadsClassification) {
  const auto s = shard({});
  EXPECT_EQ(s->schema().task, Task::classification);
  EXPECT_EQ(s->schema().classes, 3u);
  EXPECT_FALSE(s->classes_inferred());
  EXPECT_EQ(s->schema().feature_shape, (std::vector<std::size_t>{2}));
  EXPECT_EQ(s->rows(), 6u);
  EXPECT_EQ(s->clients(), 3u);
  EXPECT_EQ(s->offsets(), (Offsets{0, 3, 4, 6}));
  EXPECT_EQ(s->client_name(2), "eve");
  const Block block = s->read(2, 3, 3, false);
  EXPECT_EQ(block.rows, 3u);
  EXPECT_EQ(block.first_row, 2u);
  EXPECT_EQ(block.file, s->path());
  EXPECT_EQ(plain(block.numbers), (Numbers{20, 21, 30, 31, 40, 41}));
  EXPECT_EQ(plain(block.labels), (Labels{2, 0, 1}));
  EXPECT_EQ(plain(block.offsets), (Offsets{0, 3}));
}

TEST_F(ShardFile, ReadsRegression) {
  const auto s = shard(regression_content());
  EXPECT_EQ(s->schema().task, Task::regression);
  EXPECT_EQ(s->schema().targets, 2u);
  const Block block = s->read(4, 2, 0, false);
  EXPECT_EQ(plain(block.targets), (Numbers{8, 9, 10, 11}));
  EXPECT_TRUE(block.labels.empty());
}

TEST_F(ShardFile, KeepsBytesAsBytes) {
  Content c;
  c.bytes = true;
  const auto s = shard(c);
  EXPECT_EQ(s->schema().type, FeatureType::uint8);
  EXPECT_FLOAT_EQ(s->schema().scale, 0.1F);
  EXPECT_FLOAT_EQ(s->schema().offset, 3.0F);
  EXPECT_EQ(plain(s->read(1, 1, 3, false).bytes), (std::vector<std::uint8_t>{10, 11}));
}

TEST_F(ShardFile, ReadsClientsWithTheirOffsets) {
  const Block block = shard({})->read_clients(1, 2, 3, false);
  EXPECT_EQ(block.rows, 3u);
  EXPECT_EQ(block.first_row, 3u);
  EXPECT_EQ(plain(block.offsets), (Offsets{0, 1, 3}));
  EXPECT_EQ(plain(block.labels), (Labels{0, 1, 2}));
}

TEST_F(ShardFile, IsOneClientWithoutOffsets) {
  Content c;
  c.offsets = {};
  const auto s = shard(c);
  EXPECT_EQ(s->offsets(), (Offsets{0, 6}));
  EXPECT_EQ(s->client_name(0), "0");
}

TEST_F(ShardFile, NumbersClientsWithoutNames) {
  Content c;
  c.names = {};
  EXPECT_EQ(shard(c)->client_name(2), "2");
}

TEST_F(ShardFile, InfersClassesThatAreNotDeclared) {
  Content c;
  c.classes = {};
  const auto s = shard(c);
  EXPECT_TRUE(s->classes_inferred());
  EXPECT_EQ(s->schema().classes, 3u);
}

TEST_F(ShardFile, TakesTheDeclaredShape) {
  Content c;
  c.shape = {3, 4};
  c.labels = {0, 1, 2};
  c.offsets = {};
  c.feature_shape = {2, 2};
  EXPECT_EQ(shard(c)->schema().feature_shape, (std::vector<std::size_t>{2, 2}));
  c.feature_shape = {3, 2};
  refuses(c, {"/features", "6", "4"});
}

TEST_F(ShardFile, RefusesBadRowsByNumber) {
  Content c;
  c.features[7] = kNaN;
  c.labels[4] = 3;
  const auto s = shard(c);
  EXPECT_EQ(s->read(0, 3, 3, false).rows, 3u);
  expect_error(ExitCode::bad_data, {s->path(), "row 3", "finite features"}, [&] { s->read(2, 4, 3, false); });
  expect_error(ExitCode::bad_data, {s->path(), "row 4", "label from 0 to 2", "3"}, [&] { s->read(4, 1, 3, false); });
  EXPECT_EQ(s->read(4, 1, 4, false).rows, 1u) << "a federation with a fourth class elsewhere";

  c = {};
  c.labels[5] = -1;
  expect_error(ExitCode::bad_data, {"row 5", "-1"}, [&] { shard(c)->read(0, 6, 3, false); });
  c = regression_content();
  c.targets[3] = -std::numeric_limits<float>::infinity();
  expect_error(ExitCode::bad_data, {"row 1", "finite labels"}, [&] { shard(c)->read(0, 6, 0, false); });
}

TEST_F(ShardFile, SkipsAndCountsBadRows) {
  Content c;
  c.features[0] = kNaN;                                     // row 0, ada
  c.labels[3] = 9;                                          // row 3, all that bob has
  c.features[11] = std::numeric_limits<float>::infinity();  // row 5, eve
  const auto s = shard(c);
  const Block rows = s->read(0, 6, 3, true);
  EXPECT_EQ(rows.dropped, 3u);
  EXPECT_EQ(rows.rows, 3u);
  EXPECT_EQ(plain(rows.numbers), (Numbers{10, 11, 20, 21, 40, 41}));
  EXPECT_EQ(plain(rows.labels), (Labels{1, 2, 1}));

  const Block runs = s->read(Offsets{0, 1, 2, 5, 6}, 3, true);
  EXPECT_EQ(plain(runs.offsets), (Offsets{0, 0, 1, 3, 3}));

  const Block clients = s->read_clients(0, 3, 3, true);
  EXPECT_EQ(plain(clients.offsets), (Offsets{0, 2, 2, 3}));
  EXPECT_EQ(clients.dropped, 3u);
  EXPECT_EQ(clients.labels, rows.labels);

  Content bytes;
  bytes.bytes = true;
  bytes.labels[1] = -5;
  EXPECT_EQ(plain(shard(bytes)->read(0, 3, 3, true).bytes), (std::vector<std::uint8_t>{0, 1, 20, 21}));
  Content numbers = regression_content();
  numbers.targets[2] = kNaN;
  EXPECT_EQ(plain(shard(numbers)->read(0, 3, 0, true).targets), (Numbers{0, 1, 4, 5}));
}

TEST_F(ShardFile, RefusesOrLeavesOutAClientWithoutExamples) {
  Content c;
  c.offsets = {0, 3, 3, 6};
  const auto s = shard(c);
  EXPECT_EQ(s->read_clients(0, 1, 3, false).rows, 3u);
  expect_error(ExitCode::bad_data, {"'bob'", "at least one example", "--data.skip-bad on"},
               [&] { s->read_clients(0, 3, 3, false); });
  EXPECT_EQ(plain(s->read_clients(0, 3, 3, true).offsets), c.offsets);
}

TEST_F(ShardFile, RefusesWhatIsNotAShard) {
  const auto with = [](auto change) {
    Content c;
    change(c);
    return c;
  };
  refuses(with([](Content& c) { c.format = "fedmpi-checkpoint"; }), {"fedmpi-shard", "fedmpi-checkpoint"});
  refuses(with([](Content& c) { c.version = 2; }), {"version 1", "2"});
  refuses(with([](Content& c) { c.task = "language"; }), {"task", "language"});
  refuses(with([](Content& c) { c.classes = {1}; }), {"classes", "1"});
  refuses(with([](Content& c) { c.classes = {1'000'001}; }), {"classes", "1000001"});
  refuses(with([](Content& c) { c.labels.pop_back(); }), {"/labels", "6 rows"});
  refuses(with([](Content& c) { c.targets.assign(12, 0.0F); }), {"/labels", "one whole number", "float32 [6 × 2]"});
  refuses(with([](Content& c) { c.task = "regression"; }), {"/labels", "floating-point"});
  refuses(with([](Content& c) { c.shape = {12}; }), {"/features"});
  refuses(with([](Content& c) { c.offsets = {0, 4, 3, 6}; }), {"/clients/offsets", "from 0 to 6", "3 at position 2"});
  refuses(with([](Content& c) { c.offsets = {1, 3, 4, 6}; }), {"/clients/offsets"});
  refuses(with([](Content& c) { c.offsets = {0, 3, 4, 7}; }), {"/clients/offsets", "found 7"});
  refuses(with([](Content& c) { c.offsets = {6}; }), {"/clients/offsets", "at least two"});
  refuses(with([](Content& c) { c.bytes = true, c.scale = HUGE_VAL; }), {"/features", "scale"});
  refuses(with([](Content& c) { c.bytes = true, c.scale = 1e38; }), {"/features", "scale"});
  refuses(with([](Content& c) { c.names.pop_back(); }), {"/clients/names", "3 strings"});
}

class TffFile : public ShardFile {
 protected:
  // Clients of 2, 1 and 3 examples with 2 × 2 pixels that count up, in another order than that of their names.
  std::string write_tff(bool bytes, const std::string& odd_client = "") {
    const std::string path = directory_ / "tff.h5";
    hdf5::File file = hdf5::File::create(path);
    const std::vector<std::pair<std::string, std::size_t>> clients = {{"f2", 3}, {"f0", 2}, {"f1", 1}};
    for (const auto& [name, n] : clients) {
      const std::string group = "/examples/" + name;
      const std::size_t width = name == odd_client ? 3 : 2;
      Numbers pixels(n * 2 * width);
      Labels labels(n);
      for (std::size_t i = 0; i < pixels.size(); ++i)
        pixels[i] = static_cast<float>(i) + 100.0F * static_cast<float>(n);
      for (std::size_t i = 0; i < n; ++i) labels[i] = static_cast<std::int32_t>(n + i);
      const std::vector<std::uint8_t> as_bytes(pixels.begin(), pixels.begin() + 4);
      if (bytes)
        file.create_dataset<std::uint8_t>(group + "/image", {n, 2, width}).write(0, 1, std::span(as_bytes));
      else
        file.create_dataset<float>(group + "/pixels", {n, 2, width}).write(0, n, std::span<const float>(pixels));
      file.create_dataset<std::int32_t>(group + "/label", {n, 1}).write(0, n, std::span<const std::int32_t>(labels));
    }
    file.close();
    return path;
  }
};

TEST_F(TffFile, ReadsRowsAcrossClientsInTheOrderOfTheirNames) {
  const auto s = Shard::open(write_tff(false));
  EXPECT_EQ(s->offsets(), (Offsets{0, 2, 3, 6}));
  EXPECT_EQ(s->client_name(1), "f1");
  EXPECT_TRUE(s->classes_inferred());
  EXPECT_EQ(s->schema().classes, 6u);
  EXPECT_EQ(s->schema().feature_shape, (std::vector<std::size_t>{2, 2}));
  const Block block = s->read(1, 3, 6, false);
  EXPECT_EQ(plain(block.numbers), (Numbers{204, 205, 206, 207, 100, 101, 102, 103, 300, 301, 302, 303}));
  EXPECT_EQ(plain(block.labels), (Labels{3, 1, 3}));
  const Block clients = s->read_clients(1, 2, 6, false);
  EXPECT_EQ(plain(clients.offsets), (Offsets{0, 1, 4}));
  EXPECT_EQ(plain(clients.labels), (Labels{1, 3, 4, 5}));
}

TEST_F(TffFile, KeepsImagesAsBytes) {
  const auto s = Shard::open(write_tff(true));
  EXPECT_EQ(s->schema().type, FeatureType::uint8);
  EXPECT_FLOAT_EQ(s->schema().scale, 1.0F / 255.0F);
  EXPECT_EQ(plain(s->read(2, 1, 6, false).bytes), (std::vector<std::uint8_t>{100, 101, 102, 103}));
}

TEST_F(TffFile, RefusesAClientOfAnotherShape) {
  const std::string path = write_tff(false, "f1");
  expect_error(ExitCode::bad_data, {path, "/examples/f1/pixels"}, [&] { Shard::open(path); });
}

TEST(ShardFiles, AreFoundInOrderOfName) {
  const TemporaryDirectory directory;
  std::filesystem::create_directory(directory / "data");
  const auto file = [&](const char* name) { return directory / (std::string("data/") + name); };
  for (const char* name : {"shard-00002.h5", "shard-00003.h5", "shard-00001.h5", "test.h5", "notes.txt"})
    test::write_file(file(name), "");
  EXPECT_EQ(shard_files(directory / "data"),
            (Strings{file("shard-00001.h5"), file("shard-00002.h5"), file("shard-00003.h5")}));
  EXPECT_EQ(shard_files(file("shard-0000[13].h5")), (Strings{file("shard-00001.h5"), file("shard-00003.h5")}));
  EXPECT_EQ(shard_files(file("test.h5")), (Strings{file("test.h5")}));
  expect_error(ExitCode::bad_data, {"data.shards", "none*.h5"}, [&] { shard_files(file("none*.h5")); });
  std::filesystem::create_directory(directory / "empty");
  expect_error(ExitCode::bad_data, {"data.shards", "empty"}, [&] { shard_files(directory / "empty"); });
}

// A folder or a file that is there is no pattern, whatever its name.
TEST(ShardFiles, AreFoundUnderNamesThatCouldBePatterns) {
  const TemporaryDirectory directory;
  for (const char* name : {"q1", "q[1]"}) {
    std::filesystem::create_directory(directory / name);
    test::write_file(directory / (std::string(name) + "/shard-00000.h5"), "");
  }
  test::write_file(directory / "a1.h5", "");
  test::write_file(directory / "a[1].h5", "");
  EXPECT_EQ(shard_files(directory / "q[1]"), Strings{directory / "q[1]/shard-00000.h5"});
  EXPECT_EQ(shard_files(directory / "a[1].h5"), Strings{directory / "a[1].h5"});
  EXPECT_EQ(shard_files(directory / "a[12].h5"), Strings{directory / "a1.h5"});
}

TEST(ShardFiles, AreRefusedWithANumberMissingBetweenThem) {
  const TemporaryDirectory directory;
  for (const char* name : {"shard-00000.h5", "shard-00001.h5", "shard-00003.h5"})
    test::write_file(directory / name, "");
  expect_error(ExitCode::bad_data, {"expected", "./shard-00002.h5"}, [&] { shard_files(directory / "."); });
  EXPECT_EQ(shard_files(directory / "shard-*.h5").size(), 3u);
  test::write_file(directory / "shard-north.h5", "");
  test::write_file(directory / "shard-00002.h5", "");
  EXPECT_EQ(shard_files(directory / ".").size(), 5u);
}

}  // namespace
}  // namespace fedmpi::data
