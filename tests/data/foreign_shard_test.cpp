// Shards by other programs' hands: numbers of any type, numbers that are not what they should be, names and notes.
#include <gtest/gtest.h>

#include <cmath>
#include <limits>

#include "data/loader.hpp"
#include "data/shard.hpp"
#include "hdf5/file.hpp"
#include "support/expect_error.hpp"
#include "support/temporary_directory.hpp"

namespace fedmpi::data {
namespace {

using hdf5::Handle;
using test::expect_error;
using Labels = std::vector<std::int32_t>;
using Numbers = std::vector<float>;
using Offsets = std::vector<std::uint64_t>;
using Strings = std::vector<std::string>;

hid_t float16() {
  const hid_t type = H5Tcopy(H5T_IEEE_F32LE);
  H5Tset_fields(type, 15, 10, 5, 0, 10);
  H5Tset_size(type, 2);
  H5Tset_ebias(type, 15);
  return type;
}

template <class Values>
auto plain(const Values& v) {
  return std::vector<typename Values::value_type>(v.begin(), v.end());
}

class ForeignShard : public testing::Test {
 protected:
  ForeignShard() : file_(hdf5::File::create(path_)) {
    file_.set_text("format", "fedmpi-shard");
    set("version", 1);
    file_.set_text("task", "classification");
  }
  void set(const char* name, std::int64_t value, const char* object = "/") {
    const Handle space(H5Screate(H5S_SCALAR), H5Sclose);
    const Handle a(
        H5Acreate_by_name(file_.id(), object, name, H5T_STD_I64LE, space.get(), H5P_DEFAULT, H5P_DEFAULT, H5P_DEFAULT),
        H5Aclose);
    ASSERT_GE(H5Awrite(a.get(), H5T_NATIVE_INT64, &value), 0);
  }
  // Stores the values as that type.
  template <class T>
  void put(const char* path, std::vector<std::size_t> shape, hid_t type, const std::vector<T>& values) {
    file_.create_dataset(path, shape, type)
        .write_rows(hdf5::native_type<T>(), 0, shape[0], values.data(), values.size());
  }
  void put_features(std::size_t rows = 4) { put<float>("/features", {rows, 1}, H5T_IEEE_F32LE, Numbers(rows, 1.0F)); }
  std::unique_ptr<Shard> shard() {
    file_.close();
    return Shard::open(path_);
  }
  void refuses(const Strings& parts) {
    file_.close();
    Strings all = parts;
    all.push_back(path_);
    expect_error(ExitCode::bad_data, all, [&] { Shard::open(path_); });
  }

  test::TemporaryDirectory directory_;
  std::string path_ = directory_ / "shard.h5";
  hdf5::File file_;
};

struct Stored {
  const char* name;
  hid_t (*type)();
};
const Stored kStored[] = {
    {"int8", [] { return H5T_STD_I8LE; }},
    {"uint16", [] { return H5T_STD_U16LE; }},
    {"int16 big-endian", [] { return H5T_STD_I16BE; }},
    {"int32", [] { return H5T_STD_I32LE; }},
    {"int64", [] { return H5T_STD_I64LE; }},
    {"uint64", [] { return H5T_STD_U64LE; }},
    {"float16", float16},
    {"float32", [] { return H5T_IEEE_F32LE; }},
    {"float32 big-endian", [] { return H5T_IEEE_F32BE; }},
    {"float64", [] { return H5T_IEEE_F64LE; }},
};

class StoredAs : public ForeignShard, public testing::WithParamInterface<Stored> {};

TEST_P(StoredAs, IsReadAsFloats) {
  put<float>("/features", {2, 3}, GetParam().type(), {0, 1, 2, 3, 100, 127});
  put<std::int32_t>("/labels", {2}, GetParam().type(), {1, 0});
  const auto s = shard();
  EXPECT_EQ(s->stored_type(), GetParam().name);
  EXPECT_EQ(s->schema().type, FeatureType::float32);
  EXPECT_EQ(s->schema().classes, 2u);
  const Block block = s->read(0, 2, 2, false);
  EXPECT_EQ(plain(block.numbers), (Numbers{0, 1, 2, 3, 100, 127}));
  EXPECT_EQ(plain(block.labels), (Labels{1, 0}));
}

INSTANTIATE_TEST_SUITE_P(Types, StoredAs, testing::ValuesIn(kStored), [](const auto& type) {
  std::string name = type.param.name;
  for (char& c : name)
    if (c == ' ' || c == '-') c = '_';
  return name;
});

TEST_F(ForeignShard, HoldsFeaturesThatFloat32Can) {
  put<double>("/features", {3, 2}, H5T_IEEE_F64LE, {1, 2, 3, 1e300, -5, 1e-300});
  put<std::int32_t>("/labels", {3}, H5T_STD_I32LE, {0, 1, 2});
  const auto s = shard();
  expect_error(ExitCode::bad_data, {path_, "row 1: ", "finite features", "found 1e+300 in feature 1"},
               [&] { s->read(0, 3, 3, false); });
  const Block kept = s->read(0, 3, 3, true);
  EXPECT_EQ(kept.dropped, 1u);
  EXPECT_EQ(plain(kept.numbers), (Numbers{1, 2, -5, 0}));
}

TEST_F(ForeignShard, HasWholeNumbersOrTruthsForLabels) {
  put_features();
  put<double>("/labels", {4}, H5T_IEEE_F64LE, {2, 0.5, 4294967296.0, std::numeric_limits<double>::quiet_NaN()});
  const auto s = shard();
  EXPECT_EQ(s->schema().classes, 3u);
  const Strings found = {"0.5", "4294967296", "nan"};
  for (std::size_t row = 1; row < 4; ++row)
    expect_error(ExitCode::bad_data,
                 {fmt::format("row {}: expected a label from 0 to 2, found {}", row, found[row - 1])},
                 [&] { s->read(row, 1, 3, false); });
  EXPECT_EQ(plain(s->read(0, 4, 3, true).labels), Labels{2});
}

TEST_F(ForeignShard, HasNoLabelsBeyondInt32) {
  put_features(2);
  put<std::int64_t>("/labels", {2}, H5T_STD_I64LE, {1, std::int64_t{1} << 32});
  set("classes", 2);
  const auto s = shard();
  expect_error(ExitCode::bad_data, {"row 1", "found 4294967296"}, [&] { s->read(0, 2, 2, false); });
}

TEST_F(ForeignShard, MayHaveTruthsForLabels) {
  put_features();
  const Handle boolean(H5Tenum_create(H5T_STD_I8LE), H5Tclose);
  for (std::int8_t value = 0; value < 2; ++value) H5Tenum_insert(boolean.get(), value == 0 ? "FALSE" : "TRUE", &value);
  const std::vector<std::int8_t> values = {0, 1, 1, 0};
  file_.create_dataset("/labels", {4}, boolean.get()).write_rows(boolean.get(), 0, 4, values.data(), 4);
  const auto s = shard();
  EXPECT_EQ(s->schema().classes, 2u);
  EXPECT_EQ(plain(s->read(0, 4, 2, false).labels), (Labels{0, 1, 1, 0}));
}

TEST_F(ForeignShard, MayKnowOneClassAlone) {
  put_features();
  put<std::int32_t>("/labels", {4}, H5T_STD_I32LE, {0, 0, 0, 0});
  const auto s = shard();
  EXPECT_TRUE(s->classes_inferred());
  EXPECT_EQ(s->schema().classes, 1u);
}

TEST_F(ForeignShard, CountsItsRowsUpwards) {
  put_features();
  put<std::int32_t>("/labels", {4}, H5T_STD_I32LE, {0, 1, 0, 1});
  put<std::int64_t>("/clients/offsets", {3}, H5T_STD_I64LE, {-5, 2, 4});
  refuses({"/clients/offsets", "rising row numbers from 0 to 4", "found -5 at position 0"});
}

TEST_F(ForeignShard, DoesNotCountBelowZero) {
  put_features();
  put<std::int32_t>("/labels", {4}, H5T_STD_I32LE, {0, 1, 0, 1});
  set("classes", -3);
  refuses({"'classes'", "0 or more", "found -3"});
}

TEST_F(ForeignShard, DoesNotMultiplyToAShapeThatWraps) {
  put<float>("/features", {2, 4}, H5T_IEEE_F32LE, Numbers(8));
  put<std::int32_t>("/labels", {2}, H5T_STD_I32LE, {0, 1});
  const std::uint64_t half = std::uint64_t{1} << 32;
  file_.set_integers("feature_shape", Offsets{half, half + 0, 1, 4});
  refuses({"feature_shape", "fewer than 2^61", "4294967296 × 4294967296"});
}

TEST_F(ForeignShard, MustNotScaleWhatIsNotBytes) {
  put<float>("/features", {2, 1}, H5T_STD_I16LE, {1, 2});
  put<std::int32_t>("/labels", {2}, H5T_STD_I32LE, {0, 1});
  file_.set_number("scale", 0.5, "/features");
  refuses({"/features", "'scale'", "0.5 with int16"});
}

TEST_F(ForeignShard, SaysWhatColumnsAndLabelsAreCalled) {
  put<float>("/features", {2, 2}, H5T_IEEE_F32LE, {1, 2, 3, 4});
  put<std::int32_t>("/labels", {2}, H5T_STD_I32LE, {0, 0});
  file_.write_strings("columns", Strings{"age", "weight"});
  file_.write_strings("label_names", Strings{"no", "yes", "maybe"});
  const auto s = shard();
  EXPECT_EQ(s->schema().columns, (Strings{"age", "weight"}));
  EXPECT_EQ(s->schema().label_names, (Strings{"no", "yes", "maybe"}));
  EXPECT_EQ(s->schema().classes, 3u) << "as many as have a name";
  EXPECT_FALSE(s->classes_inferred());
}

TEST_F(ForeignShard, NamesEveryColumnAndClassOrNone) {
  put<float>("/features", {2, 2}, H5T_IEEE_F32LE, {1, 2, 3, 4});
  put<std::int32_t>("/labels", {2}, H5T_STD_I32LE, {0, 1});
  file_.write_strings("columns", Strings{"age"});
  refuses({"/columns", "2 strings", "text [1]"});
}

TEST_F(ForeignShard, NamesNothingByNumbers) {
  put_features(2);
  put<std::int32_t>("/labels", {2}, H5T_STD_I32LE, {0, 1});
  set("classes", 2);
  put<std::int32_t>("/label_names", {2}, H5T_STD_I32LE, {7, 8});
  refuses({"/label_names", "2 strings", "int32 [2]"});
}

// h5py copies it together with all other attributes of a dataset.
TEST_F(ForeignShard, MayHaveANoteOfChunksThatCanBeDeleted) {
  const Handle space(H5Screate_simple(1, std::array<hsize_t, 1>{4}.data(), nullptr), H5Sclose);
  Handle contiguous(
      H5Dcreate2(file_.id(), "/labels", H5T_STD_I32LE, space.get(), H5P_DEFAULT, H5P_DEFAULT, H5P_DEFAULT), H5Dclose);
  const Labels labels = {0, 1, 0, 1};
  H5Dwrite(contiguous.get(), H5T_NATIVE_INT32, H5S_ALL, H5S_ALL, H5P_DEFAULT, labels.data());
  contiguous.reset();
  set("zero_chunks", 0, "/labels");
  put_features();
  refuses({"/labels", "'zero_chunks'", "delete that attribute"});
}

TEST_F(ForeignShard, MayHaveANoteOfOtherChunks) {
  put_features();
  put<std::int32_t>("/labels", {4}, H5T_STD_I32LE, {0, 0, 0, 0});
  set("zero_chunks", 0, "/labels");
  set("classes", 2);
  const auto s = shard();
  expect_error(ExitCode::bad_data, {"/labels", "lost block in rows 0 to 3", "'zero_chunks'", "delete that attribute"},
               [&] { s->read(0, 4, 2, false); });
}

TEST_F(ForeignShard, MustFitTheOthersWhenItIsLoaded) {
  put<float>("/features", {2, 2}, H5T_IEEE_F32LE, {1, 2, 3, 4});
  put<std::int32_t>("/labels", {2}, H5T_STD_I32LE, {0, 1});
  file_.write_strings("columns", Strings{"age", "weight"});
  Schema common = shard()->schema();
  common.classes = 5;  // others have more
  const Part part{path_, 0, 1, 2, 0};
  EXPECT_EQ(load(std::span(&part, 1), common, false, {}).clients(), 1u);
  common.columns = {"age", "height"};
  expect_error(ExitCode::bad_data, {path_, "does not fit", "column 1 is called 'weight' and there 'height'"},
               [&] { load(std::span(&part, 1), common, false, {}); });
}

}  // namespace
}  // namespace fedmpi::data
