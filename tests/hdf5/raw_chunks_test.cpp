// Reading past the library: the same values and the same refusals as through it.
#include "hdf5/raw_chunks.hpp"

#include <gtest/gtest.h>

#include <functional>
#include <numeric>

#include "base/random.hpp"
#include "hdf5/file.hpp"
#include "support/expect_error.hpp"
#include "support/temporary_directory.hpp"

namespace fedmpi::hdf5 {
namespace {

using test::expect_error;
using test::TemporaryDirectory;
using Bytes = std::vector<std::uint8_t>;

class RawRows : public testing::Test {
 protected:
  // A new file with the dataset x: the numbers from 0 in rows of 3, in chunks of `chunk_rows`, as `adjust` changes it.
  void write(std::size_t rows, hsize_t chunk_rows, const std::function<void(hid_t)>& adjust = only_fletcher32,
             hid_t type = H5T_NATIVE_INT32, hsize_t chunk_columns = 3, hsize_t user_block = 0) {
    std::remove(path_.c_str());
    const Handle creation(H5Pcreate(H5P_FILE_CREATE), H5Pclose);
    H5Pset_userblock(creation.get(), user_block);
    const Handle file(H5Fcreate(path_.c_str(), H5F_ACC_EXCL, creation.get(), H5P_DEFAULT), H5Fclose);
    const std::array<hsize_t, 2> shape = {rows, 3}, chunk = {chunk_rows, chunk_columns};
    const std::array<hsize_t, 2> most = {H5S_UNLIMITED, 3};  // only then may a chunk be larger than the dataset
    const Handle space(H5Screate_simple(2, shape.data(), chunk_rows > rows ? most.data() : nullptr), H5Sclose);
    const Handle plist(H5Pcreate(H5P_DATASET_CREATE), H5Pclose);
    if (chunk_rows > 0) H5Pset_chunk(plist.get(), 2, chunk.data());
    adjust(plist.get());
    const Handle x(H5Dcreate2(file.get(), "x", type, space.get(), H5P_DEFAULT, plist.get(), H5P_DEFAULT), H5Dclose);
    std::vector<std::int32_t> values(rows * 3);
    std::iota(values.begin(), values.end(), 0);
    ASSERT_GE(H5Dwrite(x.get(), H5T_NATIVE_INT32, H5S_ALL, H5S_ALL, H5P_DEFAULT, values.data()), 0);
  }
  static void only_fletcher32(hid_t plist) { H5Pset_fletcher32(plist); }

  static std::unique_ptr<RawChunks> chunks_of(const File& file, const Dataset& x) {
    const Handle creation(H5Dget_create_plist(x.id()), H5Pclose);
    return RawChunks::of(x.id(), creation.get(), descriptor_of(file.id()));
  }
  // Whether the rows come past the library.
  bool raw(std::size_t first, std::size_t count) {
    const File file = File::open(path_);
    const Dataset x = file.dataset("x");
    const auto chunks = chunks_of(file, x);
    std::vector<std::int32_t> values(count * 3);
    return chunks && chunks->read(first, count, std::as_writable_bytes(std::span(values)).data());
  }
  void expect_rows(std::size_t first, std::size_t count) {
    const File file = File::open(path_);
    std::vector<std::int32_t> expected(count * 3), values(count * 3), again(count * 3);
    std::iota(expected.begin(), expected.end(), static_cast<std::int32_t>(3 * first));
    file.dataset("x").read(first, count, std::span(values));
    file.dataset("x").read_again(first, count, std::span(again));
    EXPECT_EQ(values, expected) << first << " + " << count;
    EXPECT_EQ(again, expected) << first << " + " << count;
  }
  void expect_left_to_the_library(std::size_t rows) {
    EXPECT_FALSE(raw(0, rows));
    expect_rows(0, rows);
    expect_rows(1, rows - 2);
  }
  // Changes the byte that is `at` after the place of the numbers n, n + 1, n + 2.
  void damage(std::int32_t n, std::size_t at = 0) {
    std::string content = test::read_file(path_);
    const std::array<std::int32_t, 3> numbers = {n, n + 1, n + 2};
    const std::size_t place = content.find({reinterpret_cast<const char*>(numbers.data()), sizeof numbers});
    ASSERT_NE(place, std::string::npos);
    content[place + at] = static_cast<char>(content[place + at] ^ 0x10);
    test::write_file(path_, content);
  }

  TemporaryDirectory directory_;
  std::string path_ = directory_ / "file.h5";
};

// The checksum that the library puts behind a chunk of these bytes.
std::uint32_t by_the_library(const std::string& path, const Bytes& bytes) {
  std::remove(path.c_str());
  const Handle file(H5Fcreate(path.c_str(), H5F_ACC_EXCL, H5P_DEFAULT, H5P_DEFAULT), H5Fclose);
  const hsize_t n = bytes.size();
  const Handle space(H5Screate_simple(1, &n, nullptr), H5Sclose), plist(H5Pcreate(H5P_DATASET_CREATE), H5Pclose);
  H5Pset_chunk(plist.get(), 1, &n);
  H5Pset_fletcher32(plist.get());
  const Handle x(H5Dcreate2(file.get(), "x", H5T_STD_U8LE, space.get(), H5P_DEFAULT, plist.get(), H5P_DEFAULT),
                 H5Dclose);
  H5Dwrite(x.get(), H5T_NATIVE_UINT8, H5S_ALL, H5S_ALL, H5P_DEFAULT, bytes.data());
  H5Fflush(file.get(), H5F_SCOPE_LOCAL);
  const hsize_t start = 0;
  std::uint32_t filters = 0;
  Bytes stored(n + 4);
  H5Dread_chunk(x.get(), H5P_DEFAULT, &start, &filters, stored.data());
  const auto byte = [&](std::size_t i) { return std::uint32_t{stored[n + i]} << 8 * i; };
  return byte(0) | byte(1) | byte(2) | byte(3);
}

TEST_F(RawRows, HaveTheChecksumThatTheLibraryWrites) {
  std::vector<std::size_t> sizes(130);
  std::iota(sizes.begin(), sizes.end(), std::size_t{1});
  // Around the 11,520 bytes after which the sums are reduced, and longer.
  sizes.insert(sizes.end(), {11519, 11520, 11521, 11552, 11553, 23041, 100'003, 1'048'576});
  Stream stream(7, Purpose::generate);
  for (const std::size_t size : sizes) {
    Bytes random(size);
    for (std::uint8_t& b : random) b = static_cast<std::uint8_t>(stream.below(256));
    for (const Bytes& bytes : {random, Bytes(size, 0), Bytes(size, 255)}) {
      const std::string path = directory_ / "checksum.h5";
      ASSERT_EQ(fletcher32(std::as_bytes(std::span(bytes))), by_the_library(path, bytes))
          << size << " bytes of " << int{bytes[0]};
    }
  }
}

TEST_F(RawRows, ComeFromChunksWholeAndInPart) {
  constexpr std::size_t kRows = 2100, kChunk = 500;  // the last chunk has 100 rows in the dataset
  write(kRows, kChunk);
  EXPECT_TRUE(raw(0, kRows));
  using Sizes = std::initializer_list<std::size_t>;
  for (const std::size_t first : Sizes{0, 1, 499, 500, 501, 1999, 2000, 2099})
    for (const std::size_t count : Sizes{1, 2, 499, 500, 501, 1000, 1600, 2100})
      if (first + count <= kRows) expect_rows(first, count);
  write(10, 500);  // one chunk, larger than the dataset
  EXPECT_TRUE(raw(0, 10));
  expect_rows(3, 7);
}

TEST_F(RawRows, AreRefusedInTheLibrarysWordsWhenDamaged) {
  for (const std::int32_t n : {30, 3 * 700, 3 * 2099}) {
    write(2100, 500);
    damage(n, 2);
    const File file = File::open(path_);
    const auto row = static_cast<std::size_t>(n / 3);
    EXPECT_FALSE(raw(row, 1));
    expect_error(ExitCode::bad_data,
                 {path_ + ": x: expected readable data, found a damaged block among those of rows 0 to 2099"},
                 [&] { file.dataset("x").read_all<std::int32_t>(); });
    expect_error(ExitCode::bad_data, {"damaged block"}, [&] {
      std::vector<std::int32_t> some(3);
      file.dataset("x").read(row, 1, std::span(some));
    });
    std::vector<std::int32_t> elsewhere(3);
    file.dataset("x").read(1200, 1, std::span(elsewhere));
    EXPECT_EQ(elsewhere[0], 3600);
  }
}

TEST_F(RawRows, AreRefusedWhenTheirChecksumIsDamaged) {
  write(1000, 500);
  damage(3 * 499, 12);  // the first byte behind the first chunk
  EXPECT_FALSE(raw(0, 500));
  EXPECT_TRUE(raw(500, 500));
  expect_error(ExitCode::bad_data, {"damaged block"}, [&] { File::open(path_).dataset("x").read_all<std::int32_t>(); });
}

// Before version 1.6.3 the library exchanged the bytes of each half of the checksum.
TEST_F(RawRows, MayHaveTheChecksumOfAnOldVersion) {
  write(1000, 1000);
  std::string content = test::read_file(path_);
  std::vector<std::int32_t> values(3000);
  std::iota(values.begin(), values.end(), 0);
  const std::size_t end = content.find({reinterpret_cast<const char*>(values.data()), 12000}) + 12000;
  std::swap(content[end], content[end + 1]);
  std::swap(content[end + 2], content[end + 3]);
  test::write_file(path_, content);
  EXPECT_TRUE(raw(0, 1000));
  expect_rows(0, 1000);
}

TEST_F(RawRows, AreLeftToTheLibraryUnlessPlain) {
  const auto none = [](hid_t) {};
  write(2100, 0, none);
  expect_left_to_the_library(2100);
  write(2100, 500, none);
  expect_left_to_the_library(2100);
  write(2100, 500, [](hid_t plist) {
    H5Pset_deflate(plist, 1);
    H5Pset_fletcher32(plist);
  });
  expect_left_to_the_library(2100);
  write(2100, 500, only_fletcher32, H5T_NATIVE_INT32, 2);  // a row is in two chunks
  expect_left_to_the_library(2100);
  write(2100, 500, only_fletcher32, H5T_STD_I32BE);
  expect_left_to_the_library(2100);
  write(2100, 500, only_fletcher32, H5T_STD_I16LE);
  expect_left_to_the_library(2100);
  write(2100, 10);  // chunks so small that their list would be long
  expect_left_to_the_library(2100);
  write(2100, 500, only_fletcher32, H5T_NATIVE_INT32, 3, 512);  // addresses do not count from the file's beginning
  expect_left_to_the_library(2100);
}

TEST_F(RawRows, AreLeftToTheLibraryInAFileThatIsBeingWritten) {
  File file = File::create(path_);
  Dataset x = file.create_dataset<std::int32_t>("x", {2, 3});
  const std::vector<std::int32_t> values = {0, 1, 2, 3, 4, 5};
  x.write(0, 2, std::span(values));
  ASSERT_GE(H5Fflush(file.id(), H5F_SCOPE_LOCAL), 0);
  EXPECT_EQ(chunks_of(file, x), nullptr);
  EXPECT_EQ(file.dataset("x").read_all<std::int32_t>(), values);
}

TEST_F(RawRows, AreLeftToTheLibraryWhereAChunkIsNotFiltered) {
  {
    const Handle file(H5Fcreate(path_.c_str(), H5F_ACC_EXCL, H5P_DEFAULT, H5P_DEFAULT), H5Fclose);
    const std::array<hsize_t, 2> shape = {1000, 3}, chunk = {500, 3};
    const Handle space(H5Screate_simple(2, shape.data(), nullptr), H5Sclose);
    const Handle plist(H5Pcreate(H5P_DATASET_CREATE), H5Pclose);
    H5Pset_chunk(plist.get(), 2, chunk.data());
    H5Pset_fletcher32(plist.get());
    const Handle x(H5Dcreate2(file.get(), "x", H5T_NATIVE_INT32, space.get(), H5P_DEFAULT, plist.get(), H5P_DEFAULT),
                   H5Dclose);
    std::vector<std::int32_t> values(3000);
    std::iota(values.begin(), values.end(), 0);
    for (hsize_t row = 0; row < 1000; row += 500) {
      const std::array<hsize_t, 2> offset = {row, 0};
      ASSERT_GE(H5Dwrite_chunk(x.get(), H5P_DEFAULT, 1, offset.data(), 6000, values.data() + 3 * row), 0);
    }
  }
  expect_left_to_the_library(1000);
}

}  // namespace
}  // namespace fedmpi::hdf5
