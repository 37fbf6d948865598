// Files that are damaged, or made to harm whoever reads them, each as the C library writes it.
#include <gtest/gtest.h>
#include <signal.h>
#include <sys/stat.h>
#include <unistd.h>

#include <filesystem>
#include <functional>
#include <numeric>

#include "hdf5/file.hpp"
#include "hdf5/probe.hpp"
#include "support/expect_error.hpp"
#include "support/temporary_directory.hpp"

namespace fedmpi::hdf5 {
namespace {

using test::expect_error;
using test::TemporaryDirectory;

// Creates /x with `dims` and the creation properties that `adjust` sets; fills it when there are `values`.
void create_raw(hid_t file, std::vector<hsize_t> dims, const std::function<void(hid_t)>& adjust,
                const float* values = nullptr) {
  const Handle space(H5Screate_simple(static_cast<int>(dims.size()), dims.data(), nullptr), H5Sclose);
  const Handle plist(H5Pcreate(H5P_DATASET_CREATE), H5Pclose);
  adjust(plist.get());
  const Handle dataset(H5Dcreate2(file, "x", H5T_IEEE_F32LE, space.get(), H5P_DEFAULT, plist.get(), H5P_DEFAULT),
                       H5Dclose);
  ASSERT_GE(dataset.get(), 0);
  if (values != nullptr) {
    ASSERT_GE(H5Dwrite(dataset.get(), H5T_NATIVE_FLOAT, H5S_ALL, H5S_ALL, H5P_DEFAULT, values), 0);
  }
}

class HostileFile : public testing::Test {
 protected:
  // A secret that a hostile file may point at.
  HostileFile() {
    File secret = File::create(secret_);
    const std::vector<float> values = {1, 2, 3, 4};
    secret.create_dataset<float>("x", {4}).write(0, 4, std::span<const float>(values));
    secret.close();
  }

  void make(const std::function<void(hid_t)>& fill) {
    const Handle file(H5Fcreate(path_.c_str(), H5F_ACC_EXCL, H5P_DEFAULT, H5P_DEFAULT), H5Fclose);
    ASSERT_GE(file.get(), 0);
    fill(file.get());
  }

  void expect_refused(const std::string& dataset, const std::vector<std::string>& parts) {
    std::vector<std::string> all = parts;
    all.push_back(path_);
    File file = File::open(path_);
    expect_error(ExitCode::bad_data, all, [&] { file.dataset(dataset).read_all<float>(); });
  }

  TemporaryDirectory directory_;
  std::string path_ = directory_ / "hostile.h5", secret_ = directory_ / "secret.h5";
};

TEST(Probe, FindsWhatCrashesOrDoesNotEnd) {
  const auto crash = [](const std::string&, std::uint64_t, std::uint64_t) { raise(SIGSEGV); };
  expect_error(ExitCode::bad_data, {"a.h5: ", "crashes"}, [&] { probe("a.h5", crash); });
  const auto run_on = [](const std::string&, std::uint64_t, std::uint64_t) {
    for (volatile bool more = true; more;) continue;
  };
  expect_error(ExitCode::bad_data, {"a.h5: ", "does not come to an end"}, [&] { probe("a.h5", run_on); });
}

// A worker tries many files, and each is judged by itself.
TEST(Probe, TriesManyFilesInOneProcess) {
  const auto good = [](const std::string& path, std::uint64_t, std::uint64_t) {
    test::write_file(path, std::to_string(getpid()));
  };
  const auto crash = [](const std::string&, std::uint64_t, std::uint64_t) { raise(SIGSEGV); };
  const TemporaryDirectory directory;
  const auto worker = [&] {
    probe(directory / "pid", good);
    return test::read_file(directory / "pid");
  };
  const std::string first = worker();
  EXPECT_EQ(worker(), first);
  EXPECT_NE(first, std::to_string(getpid()));
  expect_error(ExitCode::bad_data, {"crashes"}, [&] { probe("a.h5", crash); });
  const std::string next = worker();
  EXPECT_NE(next, first);
  EXPECT_EQ(worker(), next);
}

// What a file before has done to the worker is not held against the next one.
TEST(Probe, AsksAnotherWorkerBeforeItRefuses) {
  static bool harmed = false;  // in the worker
  const auto harm = [](const std::string&, std::uint64_t, std::uint64_t) { harmed = true; };
  const auto suffer = [](const std::string&, std::uint64_t, std::uint64_t) {
    if (harmed) raise(SIGSEGV);
  };
  const auto complain = [](const std::string& path, std::uint64_t, std::uint64_t) {
    if (harmed) fail(ExitCode::bad_data, "{}: bad", path);
  };
  probe("harm.h5", harm);
  EXPECT_NO_THROW(probe("a.h5", suffer));
  probe("harm.h5", harm);
  EXPECT_NO_THROW(probe("a.h5", complain));
}

TEST(Probe, TriesAFileAheadOfItsTurn) {
  const auto tried = [](const std::string& path, std::uint64_t, std::uint64_t) { test::write_file(path, "tried"); };
  const auto complain = [](const std::string& path, std::uint64_t, std::uint64_t) {
    fail(ExitCode::bad_data, "{}: bad", path);
  };
  const TemporaryDirectory directory;
  probe_soon("a.h5", complain);
  probe(directory / "b", tried);  // which comes between
  EXPECT_EQ(test::read_file(directory / "b"), "tried");
  expect_error(ExitCode::bad_data, {"a.h5: bad"}, [&] { probe("a.h5", complain); });
  probe_soon(directory / "c", tried);
  probe(directory / "c", tried);
  EXPECT_EQ(test::read_file(directory / "c"), "tried");
  test::write_file(directory / "c", "");
  probe(directory / "c", tried);  // once more, since the answer has been used
  EXPECT_EQ(test::read_file(directory / "c"), "tried");
}

TEST(Probe, SaysNothingOfTheFileIfItIsKilled) {
  const auto killed = [](const std::string&, std::uint64_t, std::uint64_t) { raise(SIGKILL); };
  expect_error(ExitCode::io, {"a.h5: ", "has been killed"}, [&] { probe("a.h5", killed); });
}

TEST_F(HostileFile, MayNotLinkSoftly) {
  make([](hid_t f) {
    create_raw(f, {1}, [](hid_t) {});
    ASSERT_GE(H5Lcreate_soft("/x", f, "soft", H5P_DEFAULT, H5P_DEFAULT), 0);
  });
  expect_refused("soft", {"soft", "link"});
}

TEST_F(HostileFile, MayNotLinkToAnotherFile) {
  make([&](hid_t f) {
    ASSERT_GE(H5Lcreate_external(secret_.c_str(), "/x", f, "outside", H5P_DEFAULT, H5P_DEFAULT), 0);
    ASSERT_GE(H5Lcreate_external(secret_.c_str(), "/", f, "folder", H5P_DEFAULT, H5P_DEFAULT), 0);
  });
  expect_refused("outside", {"outside", "link"});
  expect_refused("folder/x", {"folder", "link"});
  expect_error(ExitCode::bad_data, {"folder", "link"}, [&] { File::open(path_).children("folder"); });
  expect_error(ExitCode::bad_data, {"folder", "link"}, [&] { File::open(path_).text("format", "folder"); });
}

TEST_F(HostileFile, MayNotShowAnotherFilesData) {
  make([&](hid_t f) {
    const hsize_t n = 4;
    const Handle space(H5Screate_simple(1, &n, nullptr), H5Sclose);
    create_raw(f, {n}, [&](hid_t plist) {
      ASSERT_GE(H5Pset_virtual(plist, space.get(), secret_.c_str(), "/x", space.get()), 0);
    });
  });
  expect_refused("x", {"virtual"});
}

TEST_F(HostileFile, MayNotStoreElsewhere) {
  make([&](hid_t f) {
    create_raw(f, {4}, [&](hid_t plist) { ASSERT_GE(H5Pset_external(plist, secret_.c_str(), 0, 16), 0); });
  });
  expect_refused("x", {"external"});
}

constexpr hsize_t kChunk = 1024;

TEST_F(HostileFile, MayNotDeclareMoreThanItStores) {
  make([](hid_t f) { create_raw(f, {hsize_t{1} << 40}, [](hid_t plist) { H5Pset_chunk(plist, 1, &kChunk); }); });
  expect_refused("x", {"stored bytes", "found 0"});
}

// Of elements without a byte any number would be stored.
TEST_F(HostileFile, MayNotDeclareElementsOfNoBytes) {
  make([](hid_t f) { create_raw(f, {hsize_t{1} << 50}, [](hid_t plist) { H5Pset_chunk(plist, 1, &kChunk); }); });
  std::string bytes = test::read_file(path_);
  const std::string float32("\x11\x20\x1F\0\4\0\0\0", 8);  // class, its bits, and the size
  const std::size_t at = bytes.find(float32);
  ASSERT_NE(at, std::string::npos);
  bytes[at + 4] = '\0';
  test::write_file(path_, bytes);
  expect_refused("x", {"x: expected "});
}

// What is stored contiguously is as long as the file's header says.
TEST_F(HostileFile, MayNotClaimToStoreMoreThanTheFileHolds) {
  const std::vector<float> values(1031);
  make([&](hid_t f) {
    create_raw(
        f, {values.size()}, [](hid_t) {}, values.data());
  });
  std::string bytes = test::read_file(path_);
  for (const std::uint64_t bytes_each : {std::uint64_t{1}, std::uint64_t{sizeof(float)}}) {
    const std::uint64_t number = values.size() * bytes_each, forged = bytes_each << 44;
    const std::string then(reinterpret_cast<const char*>(&number), sizeof number);
    const std::string now(reinterpret_cast<const char*>(&forged), sizeof forged);
    ASSERT_NE(bytes.find(then), std::string::npos);
    for (std::size_t at = 0; (at = bytes.find(then)) != std::string::npos;) bytes.replace(at, then.size(), now);
  }
  test::write_file(path_, bytes);
  expect_refused("x", {"x: expected "});  // HDF5 1.14 finds out by itself
}

TEST_F(HostileFile, MayNotDeclareMoreThanDeflateCanHold) {
  make([](hid_t f) {
    create_raw(f, {hsize_t{1} << 40}, [](hid_t plist) {
      H5Pset_chunk(plist, 1, &kChunk);
      H5Pset_deflate(plist, 9);
    });
    // One chunk of many is there.
    const Handle dataset(H5Dopen2(f, "x", H5P_DEFAULT), H5Dclose);
    const Handle file_space(H5Dget_space(dataset.get()), H5Sclose);
    const Handle memory_space(H5Screate_simple(1, &kChunk, nullptr), H5Sclose);
    const hsize_t start = 0;
    H5Sselect_hyperslab(file_space.get(), H5S_SELECT_SET, &start, nullptr, &kChunk, nullptr);
    const std::vector<float> values(kChunk);
    ASSERT_GE(
        H5Dwrite(dataset.get(), H5T_NATIVE_FLOAT, memory_space.get(), file_space.get(), H5P_DEFAULT, values.data()), 0);
  });
  expect_refused("x", {"stored bytes"});
}

TEST_F(HostileFile, MayNotDeclareMoreThanMemoryCanAddress) {
  make([](hid_t f) {
    create_raw(f, {hsize_t{1} << 32, hsize_t{1} << 31}, [](hid_t plist) {
      const hsize_t chunk[] = {1, kChunk};
      H5Pset_chunk(plist, 2, chunk);
    });
  });
  expect_refused("x", {"fits memory"});
}

TEST_F(HostileFile, MayCompressAsFarAsDeflateGoes) {
  static constexpr hsize_t kZeros = 1 << 20;
  const std::vector<float> zeros(kZeros);
  make([&](hid_t f) {
    create_raw(
        f, {kZeros},
        [](hid_t plist) {
          H5Pset_chunk(plist, 1, &kZeros);
          H5Pset_deflate(plist, 9);
        },
        zeros.data());
  });
  EXPECT_EQ(File::open(path_).dataset("x").read_all<float>(), zeros);
}

TEST_F(HostileFile, MayNotCallForAFilter) {
  constexpr H5Z_filter_t kFilter = 300;
  const auto pass = [](unsigned, std::size_t, const unsigned*, std::size_t bytes, std::size_t*, void**) {
    return bytes;
  };
  const H5Z_class2_t filter = {H5Z_CLASS_T_VERS, kFilter, 1, 1, "pass", nullptr, nullptr, pass};
  ASSERT_GE(H5Zregister(&filter), 0);
  const std::vector<float> values(kChunk);
  make([&](hid_t f) {
    create_raw(
        f, {kChunk},
        [](hid_t plist) {
          H5Pset_chunk(plist, 1, &kChunk);
          H5Pset_filter(plist, kFilter, H5Z_FLAG_MANDATORY, 0, nullptr);
        },
        values.data());
  });
  expect_refused("x", {"filter 300, 'pass'"});
  H5Zunregister(kFilter);
}

TEST_F(HostileFile, IsRefusedWhenItIsCut) {
  const std::string whole = test::read_file(secret_);
  for (const std::size_t bytes : {std::size_t{0}, std::size_t{20}, whole.size() / 2, whole.size() - 1}) {
    test::write_file(path_, whole.substr(0, bytes));
    expect_error(ExitCode::bad_data, {path_, "truncated"}, [&] { File::open(path_); });
  }
}

TEST_F(HostileFile, IsRefusedWhenAnyOfItsDataIsFlipped) {
  const std::vector<float> values = {1.5f, -2.5f, 3.5f, 4.5f};
  File file = File::create(path_);
  file.create_dataset<float>("x", {4}).write(0, 4, std::span<const float>(values));
  file.close();
  std::string bytes = test::read_file(path_);
  const std::string stored(reinterpret_cast<const char*>(values.data()), 16);
  const std::size_t at = bytes.find(stored);
  ASSERT_NE(at, std::string::npos);
  for (std::size_t i = 0; i < stored.size(); ++i) {
    std::string damaged = bytes;
    damaged[at + i] = static_cast<char>(damaged[at + i] ^ 0x10);
    test::write_file(path_, damaged);
    expect_refused("x", {"damaged block"});
  }
}

// The Fletcher32 of zeros is zero: damage that no checksum shows, where the writer has left a note that there were
// none.
TEST_F(HostileFile, IsRefusedWhenAChunkIsLost) {
  const std::vector<float> values = {1.5f, -2.5f, 3.5f, 4.5f}, zeros(4);
  File file = File::create(path_);
  file.create_dataset<float>("open", {4}).write<float>(0, 4, values);
  Dataset sealed = file.create_dataset<float>("x", {4}), blank = file.create_dataset<float>("blank", {4});
  sealed.write<float>(0, 4, values);
  blank.write<float>(0, 4, zeros);
  sealed.seal();
  blank.seal();
  const std::vector<std::string> names = {"anna", "bert"};
  file.write_strings("names", names);
  { const Dataset closed = std::move(sealed), closed_too = std::move(blank); }
  file.close();
  EXPECT_EQ(File::open(path_).dataset("blank").read_all<float>(), zeros);

  std::string bytes = test::read_file(path_);
  for (const std::string& stored : {std::string(reinterpret_cast<const char*>(values.data()), 16), names[0] + names[1]})
    for (std::size_t at = 0; (at = bytes.find(stored)) != std::string::npos;)
      bytes.replace(at, stored.size() + 4, stored.size() + 4, '\0');
  test::write_file(path_, bytes);
  expect_refused("x", {"lost block in rows 0 to 3"});
  expect_error(ExitCode::bad_data, {"names", "lost block"},
               [&] { File::open(path_).dataset("names").read_strings(0, 2); });
  EXPECT_EQ(File::open(path_).dataset("open").read_all<float>(), zeros) << "there is no note";
}

// Also of rows that are longer than a chunk usually is.
TEST_F(HostileFile, IsRefusedWhenAPartOfALongRowIsLost) {
  std::vector<float> row(300'000);
  std::iota(row.begin(), row.end(), 1.0F);
  File file = File::create(path_);
  {
    Dataset x = file.create_dataset<float>("x", {2, row.size()});
    x.write<float>(0, 1, row);
    x.write<float>(1, 1, row);
    x.seal();
  }
  file.close();
  std::string bytes = test::read_file(path_);
  const std::string first(reinterpret_cast<const char*>(row.data()), 16);
  const std::size_t at = bytes.find(first);
  ASSERT_NE(at, std::string::npos);
  bytes.replace(at, row.size() * sizeof(float) + 4, row.size() * sizeof(float) + 4, '\0');
  test::write_file(path_, bytes);
  expect_refused("x", {"lost block in rows 0 to 0"});
}

// Of a chunk that was never written nothing is read: what the memory held before must not be taken for data. The last
// chunk, of one row, is no larger than the checksum of the first: the size of what is stored does not show its want.
TEST_F(HostileFile, ReadsZerosWhereAChunkIsMissing) {
  const std::vector<std::int32_t> chunk(std::size_t{1} << 18, 7);
  File file = File::create(path_);
  file.create_dataset<std::int32_t>("x", {chunk.size() + 1}).write<std::int32_t>(0, chunk.size(), chunk);
  file.close();
  std::vector<std::int32_t> rows(chunk.size() + 1, 9);
  File::open(path_).dataset("x").read<std::int32_t>(0, rows.size(), rows);
  EXPECT_EQ(rows.front(), 7);
  EXPECT_EQ(rows.back(), 0);
}

TEST_F(HostileFile, IsRefusedWhenItIsNoFileOfThisKind) {
  test::write_file(path_, "label,age\n1,40\n");
  expect_error(ExitCode::bad_data, {path_, "not HDF5"}, [&] { File::open(path_); });
  expect_error(ExitCode::bad_data, {directory_ / "none.h5", "No such file"},
               [&] { File::open(directory_ / "none.h5"); });
  std::filesystem::create_directory(directory_ / "folder.h5");
  expect_error(ExitCode::bad_data, {"folder.h5", "regular file"}, [&] { File::open(directory_ / "folder.h5"); });
}

// Whoever opens a pipe for reading waits for a writer.
TEST_F(HostileFile, MayNotBeAPipe) {
  ASSERT_EQ(mkfifo(path_.c_str(), 0600), 0);
  expect_error(ExitCode::bad_data, {path_, "regular file"}, [&] { File::open(path_); });
}

}  // namespace
}  // namespace fedmpi::hdf5
