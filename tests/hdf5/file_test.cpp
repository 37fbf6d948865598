#include "hdf5/file.hpp"

#include <gtest/gtest.h>

#include <chrono>
#include <filesystem>
#include <future>
#include <numeric>
#include <optional>
#include <thread>

#include "support/expect_error.hpp"
#include "support/temporary_directory.hpp"

namespace fedmpi::hdf5 {
namespace {

using test::expect_error;
using test::TemporaryDirectory;

std::vector<float> ramp(std::size_t n) {
  std::vector<float> values(n);
  std::iota(values.begin(), values.end(), 0.0f);
  return values;
}

class Hdf5File : public testing::Test {
 protected:
  // A closed file that `fill` wrote.
  template <class Fill>
  std::string written(Fill&& fill) {
    File file = File::create(path_);
    fill(file);
    file.close();
    return path_;
  }

  TemporaryDirectory directory_;
  std::string path_ = directory_ / "file.h5";
};

template <class T>
class Hdf5Elements : public Hdf5File {};
using ElementTypes = testing::Types<float, double, std::uint8_t, std::int32_t, std::int64_t, std::uint64_t>;
TYPED_TEST_SUITE(Hdf5Elements, ElementTypes);

TYPED_TEST(Hdf5Elements, ComeBackAsTheyWere) {
  const std::vector<TypeParam> values = {std::numeric_limits<TypeParam>::lowest(), 0, 1, 2, 3,
                                         std::numeric_limits<TypeParam>::max()};
  File file = File::open(this->written([&](File& f) {
    f.create_dataset<TypeParam>("/deep/er/values", {3, 2}).write(0, 3, std::span<const TypeParam>(values));
  }));
  const Dataset dataset = file.dataset("/deep/er/values");
  EXPECT_EQ(dataset.shape(), (std::vector<std::size_t>{3, 2}));
  EXPECT_EQ(dataset.rows(), 3u);
  EXPECT_EQ(dataset.row_size(), 2u);
  EXPECT_EQ(dataset.element_bytes(), sizeof(TypeParam));
  EXPECT_EQ(dataset.element_class(), std::is_integral_v<TypeParam> ? ElementClass::integer : ElementClass::real);
  EXPECT_EQ(dataset.template read_all<TypeParam>(), values);
}

TEST_F(Hdf5File, WritesAndReadsRowsInPieces) {
  const std::vector<float> values = ramp(30);
  File file = File::open(written([&](File& f) {
    Dataset d = f.create_dataset<float>("x", {10, 3});
    d.write(0, 4, std::span(values).first(12));
    d.write(4, 6, std::span(values).subspan(12));
  }));
  std::vector<float> rows(6);
  file.dataset("x").read(7, 2, std::span<float>(rows));
  EXPECT_EQ(rows, std::vector<float>(values.begin() + 21, values.begin() + 27));
}

TEST_F(Hdf5File, ConvertsToTheTypeAskedFor) {
  const std::vector<std::uint8_t> bytes = {0, 127, 255};
  File file = File::open(written(
      [&](File& f) { f.create_dataset<std::uint8_t>("x", {3}).write(0, 3, std::span<const std::uint8_t>(bytes)); }));
  EXPECT_EQ(file.dataset("x").read_all<float>(), (std::vector<float>{0, 127, 255}));
}

TEST_F(Hdf5File, MakesNoWholeNumbersOfOthers) {
  const std::vector<std::int64_t> whole = {1, 2, -5, 7};
  const std::vector<double> fractions = {1, 2, 3, 0.25};
  File file = File::open(written([&](File& f) {
    f.create_dataset<std::int64_t>("whole", {4}).write<std::int64_t>(0, 4, whole);
    f.create_dataset<double>("fractions", {4}).write<double>(0, 4, fractions);
  }));
  const Dataset d = file.dataset("whole"), e = file.dataset("fractions");
  expect_error(ExitCode::bad_data, {path_, "whole", "from 0 to 18446744073709551615", "found -5 in row 2"},
               [&] { d.read_all<std::uint64_t>(); });
  EXPECT_EQ(d.read_all<std::uint8_t>(9), (std::vector<std::uint8_t>{1, 2, 9, 7}));
  expect_error(ExitCode::bad_data, {"fractions", "from -2147483648 to 2147483647", "found 0.25 in row 3"},
               [&] { e.read_all<std::int32_t>(); });
  EXPECT_EQ(e.number_text(3), "0.25");
  EXPECT_EQ(d.type_name(), "int64");
}

TEST_F(Hdf5File, KeepsDatasetsOfManyChunks) {
  const std::vector<float> values = ramp(std::size_t{3} << 20);  // 12 MiB
  File file = File::open(written([&](File& f) {
    f.create_dataset<float>("x", {3, 1 << 20}).write(0, 3, std::span<const float>(values));
  }));
  EXPECT_EQ(file.dataset("x").read_all<float>(), values);
}

TEST_F(Hdf5File, KeepsDatasetsWithoutRows) {
  File file = File::open(written([](File& f) { f.create_dataset<float>("x", {0, 5}); }));
  EXPECT_EQ(file.dataset("x").rows(), 0u);
  EXPECT_TRUE(file.dataset("x").read_all<float>().empty());
}

TEST_F(Hdf5File, ChunksAndChecksumsEveryDataset) {
  File file = File::open(written([](File& f) {
    f.create_dataset<float>("numbers", {1000, 784}).write(0, 1000, std::span<const float>(ramp(784000)));
    f.write_strings("strings", std::vector<std::string>{"a"});
  }));
  for (const char* name : {"numbers", "strings"}) {
    const Dataset dataset = file.dataset(name);
    const Handle plist(H5Dget_create_plist(dataset.id()), H5Pclose);
    EXPECT_EQ(H5Pget_layout(plist.get()), H5D_CHUNKED) << name;
    unsigned flags = 0;
    std::size_t values = 0;
    EXPECT_GE(H5Pget_filter_by_id2(plist.get(), H5Z_FILTER_FLETCHER32, &flags, &values, nullptr, 0, nullptr, nullptr),
              0)
        << name;
  }
}

TEST_F(Hdf5File, KeepsStrings) {
  const std::vector<std::string> names = {"", "a", "Zürich", std::string(1000, 'x')};
  File file = File::open(written([&](File& f) { f.write_strings("clients/names", names); }));
  EXPECT_EQ(file.dataset("clients/names").element_class(), ElementClass::text);
  EXPECT_EQ(file.dataset("clients/names").read_strings(0, 4), names);
  EXPECT_EQ(file.dataset("clients/names").read_strings(1, 2), (std::vector<std::string>{"a", "Zürich"}));
}

TEST_F(Hdf5File, ReadsStringsOfVariableLength) {
  File file = File::open(written([](File& f) {
    const Handle type(H5Tcopy(H5T_C_S1), H5Tclose);
    H5Tset_size(type.get(), H5T_VARIABLE);
    const char* names[] = {"alice", "bob"};
    const hsize_t two = 2;
    const Handle space(H5Screate_simple(1, &two, nullptr), H5Sclose);
    const Handle d(H5Dcreate2(f.id(), "names", type.get(), space.get(), H5P_DEFAULT, H5P_DEFAULT, H5P_DEFAULT),
                   H5Dclose);
    ASSERT_GE(H5Dwrite(d.get(), type.get(), H5S_ALL, H5S_ALL, H5P_DEFAULT, names), 0);
  }));
  EXPECT_EQ(file.dataset("names").read_strings(0, 2), (std::vector<std::string>{"alice", "bob"}));
}

TEST_F(Hdf5File, KeepsTables) {
  struct Row {
    std::uint64_t round;
    double loss;
    bool operator==(const Row&) const = default;
  };
  const Handle type(H5Tcreate(H5T_COMPOUND, sizeof(Row)), H5Tclose);
  H5Tinsert(type.get(), "round", HOFFSET(Row, round), H5T_NATIVE_UINT64);
  H5Tinsert(type.get(), "loss", HOFFSET(Row, loss), H5T_NATIVE_DOUBLE);
  const std::vector<Row> rows = {{1, 2.5}, {2, 1.25}};
  File file = File::open(written(
      [&](File& f) { f.create_dataset("history", {2}, type.get()).write_rows(type.get(), 0, 2, rows.data(), 2); }));
  std::vector<Row> read(2);
  file.dataset("history").read_compound(type.get(), std::as_writable_bytes(std::span(read)));
  EXPECT_EQ(read, rows);
}

TEST_F(Hdf5File, KeepsAttributes) {
  File file = File::open(written([](File& f) {
    f.set_text("format", "fedmpi-shard");
    f.set_text("empty", "");
    f.set_number("pi", 3.25);
    f.set_integers("version", std::vector<std::uint64_t>{1});
    f.set_integers("feature_shape", std::vector<std::uint64_t>{28, 28});
    f.create_group("model/dense_1");
    f.set_number("scale", 0.5, "model/dense_1");
  }));
  EXPECT_EQ(file.text("format"), "fedmpi-shard");
  EXPECT_EQ(file.text("empty"), "");
  EXPECT_EQ(file.number("pi"), 3.25);
  EXPECT_EQ(file.number("version"), 1.0);
  EXPECT_EQ(file.integers("version"), std::vector<std::uint64_t>{1});
  EXPECT_EQ(file.integers("feature_shape"), (std::vector<std::uint64_t>{28, 28}));
  EXPECT_EQ(file.number("scale", "model/dense_1"), 0.5);
  EXPECT_TRUE(file.has_attribute("format"));
  EXPECT_FALSE(file.has_attribute("scale"));
  expect_error(ExitCode::bad_data, {path_, "'task'", "found none"}, [&] { file.text("task"); });
  expect_error(ExitCode::bad_data, {path_, "'version'", "one string"}, [&] { file.text("version"); });
  expect_error(ExitCode::bad_data, {path_, "'format'", "one number"}, [&] { file.number("format"); });
  expect_error(ExitCode::bad_data, {path_, "'feature_shape'", "one number"}, [&] { file.number("feature_shape"); });
  expect_error(ExitCode::bad_data, {path_, "'pi'", "whole numbers"}, [&] { file.integers("pi"); });
}

TEST_F(Hdf5File, ListsChildrenInOrder) {
  File file = File::open(written([](File& f) {
    for (const char* name : {"examples/zoe", "examples/adam", "examples/Bob"}) f.create_group(name);
  }));
  EXPECT_EQ(file.children("examples"), (std::vector<std::string>{"Bob", "adam", "zoe"}));
  EXPECT_TRUE(file.has("/examples/zoe"));
  EXPECT_FALSE(file.has("/examples/eve"));
  EXPECT_FALSE(file.has("/no/such/path"));
  expect_error(ExitCode::bad_data, {path_, "none", "found none"}, [&] { file.children("none"); });
}

TEST_F(Hdf5File, SaysWhichDatasetIsNotAsExpected) {
  File file = File::open(written([](File& f) {
    f.create_group("group");
    f.write_strings("names", std::vector<std::string>{"a"});
    f.create_dataset<float>("x", {1}).write(0, 1, std::span<const float>(ramp(1)));
  }));
  expect_error(ExitCode::bad_data, {path_, "y", "found none"}, [&] { file.dataset("y"); });
  expect_error(ExitCode::bad_data, {path_, "group", "another kind"}, [&] { file.dataset("group"); });
  expect_error(ExitCode::bad_data, {path_, "names", "numbers"}, [&] { file.dataset("names").read_all<float>(); });
  expect_error(ExitCode::bad_data, {path_, "x", "strings"}, [&] { file.dataset("x").read_strings(0, 1); });
}

// Also where the library is one that was built for threads.
TEST_F(Hdf5File, WaitsForWhoeverIsInTheLibrary) {
  written([](File& f) { f.set_number("x", 1); });
  std::optional<Exclusive> alone(std::in_place);
  auto number = std::async(std::launch::async, [&] { return File::open(path_).number("x"); });
  EXPECT_EQ(number.wait_for(std::chrono::milliseconds(50)), std::future_status::timeout);
  EXPECT_EQ(File::open(path_).number("x"), 1.0) << "by the same thread";
  alone.reset();
  EXPECT_EQ(number.get(), 1.0);
}

// A participant writes while its prefetcher reads.
TEST_F(Hdf5File, IsReadWhileAnotherIsWritten) {
  const std::vector<float> values = ramp(3000);
  written([&](File& f) { f.create_dataset<float>("x", {3000}).write(0, 3000, std::span(values)); });
  constexpr int kTimes = 200;
  const std::jthread writer([&] {
    for (int i = 0; i < kTimes; ++i) {
      File f = File::create(directory_ / fmt::format("written-{}.h5", i));
      Dataset d = f.create_dataset<float>("y", {3000});
      d.write(0, 3000, std::span(values));
      d.seal();
    }
  });
  for (int i = 0; i < kTimes; ++i) {
    const Dataset x = File::open(path_).dataset("x");
    EXPECT_EQ(x.read_all<double>(), std::vector<double>(values.begin(), values.end()));
  }
}

TEST_F(Hdf5File, RefusesRowsThatAreNotThere) {
  File file = File::create(path_);
  Dataset dataset = file.create_dataset<float>("x", {4, 2});
  const std::vector<float> values = ramp(8);
  expect_error(ExitCode::bug, {"x"}, [&] { dataset.write(1, 4, std::span<const float>(values)); });
  expect_error(ExitCode::bug, {"x"}, [&] { dataset.write(0, 4, std::span<const float>(values).first(7)); });
}

TEST_F(Hdf5File, IsCreatedOnceAndOnlyWhereItCanBe) {
  const std::string before = test::read_file(written([](File& f) { f.set_number("x", 1); }));
  expect_error(ExitCode::cannot_create, {path_}, [&] { File::create(path_); });
  EXPECT_EQ(test::read_file(path_), before);
  expect_error(ExitCode::cannot_create, {"none/x.h5"}, [&] { File::create(directory_ / "none/x.h5"); });
}

}  // namespace
}  // namespace fedmpi::hdf5
