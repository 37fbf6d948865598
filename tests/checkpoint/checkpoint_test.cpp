#include "checkpoint/checkpoint.hpp"

#include <gtest/gtest.h>
#include <unistd.h>

#include <atomic>
#include <bit>
#include <cstring>
#include <filesystem>
#include <functional>
#include <set>
#include <thread>

#include "checkpoint/examples.hpp"
#include "hdf5/file.hpp"
#include "support/expect_error.hpp"
#include "support/temporary_directory.hpp"

namespace fedmpi::checkpoint {
namespace {

namespace fs = std::filesystem;
using test::expect_error;

class CheckpointFile : public testing::Test {
 protected:
  std::set<std::string> files() const {
    std::set<std::string> names;
    for (const auto& entry : fs::directory_iterator(directory_ / "")) names.insert(entry.path().filename());
    return names;
  }

  test::TemporaryDirectory directory_;
  std::string path_ = directory_ / "checkpoint.h5";
};

// With rows that are longer than the block that is read at once, 2^20 elements.
Checkpoint wide_example() {
  Checkpoint c = example(0);
  c.layout = {};
  c.layout.add("dense_1", "kernel", {2, (1 << 20) + 1});
  c.parameters = test::random_vector(c.layout.size());
  c.states.clear();
  return c;
}

void expect_same_history(const std::vector<Row>& a, const std::vector<Row>& b) {
  ASSERT_EQ(a.size(), b.size());  // bit by bit, since what was not measured is a NaN
  EXPECT_EQ(std::memcmp(a.data(), b.data(), a.size() * sizeof(Row)), 0);
}

TEST_F(CheckpointFile, ComesBackAsItWas) {
  const Checkpoint written = example();
  write(written, path_);
  const Checkpoint c = read(path_);
  EXPECT_EQ(c.round, written.round);
  EXPECT_EQ(c.seed, written.seed);
  EXPECT_EQ(c.revision, written.revision);
  EXPECT_EQ(c.config, written.config);
  EXPECT_EQ(c.schema.task, written.schema.task);
  EXPECT_EQ(c.schema.classes, written.schema.classes);
  EXPECT_EQ(c.schema.feature_shape, written.schema.feature_shape);
  EXPECT_EQ(c.clients, written.clients);
  EXPECT_EQ(c.examples, written.examples);
  EXPECT_EQ(c.roster, written.roster);
  EXPECT_EQ(c.exponents, written.exponents);
  EXPECT_EQ(c.client_states, written.client_states);
  EXPECT_EQ(c.schema.label_names, written.schema.label_names);
  EXPECT_EQ(c.parameters, written.parameters);
  EXPECT_EQ(c.states, written.states);
  expect_same_history(c.history, written.history);
  ASSERT_EQ(c.layout.tensors().size(), 3u);
  for (std::size_t i = 0; i < 3; ++i) {
    const Tensor &a = c.layout.tensors()[i], &b = written.layout.tensors()[i];
    EXPECT_EQ(a.layer, b.layer);
    EXPECT_EQ(a.name, b.name);
    EXPECT_EQ(a.shape, b.shape);
    EXPECT_EQ(a.offset, b.offset);
  }
  EXPECT_EQ(digest(c), digest(written));
  EXPECT_EQ(files(), (std::set<std::string>{"checkpoint.h5"}));
}

TEST_F(CheckpointFile, HoldsARegressionWithoutServerState) {
  Checkpoint written = example(0);
  written.schema = test::regression(5, 3);
  written.states.clear();
  write(written, path_);
  const Checkpoint c = read(path_);
  EXPECT_EQ(c.schema.task, data::Task::regression);
  EXPECT_EQ(c.schema.targets, 3u);
  EXPECT_TRUE(c.states.empty());
  expect_same_history(c.history, written.history);
}

TEST_F(CheckpointFile, ShowsTensorsInTheirShapes) {
  write(example(), path_);
  const hdf5::File file = hdf5::File::open(path_);
  EXPECT_EQ(file.dataset("/model/dense_1/kernel").shape(), (std::vector<std::size_t>{3, 2}));
  // {2, 4} from offset 8, in memory column by column: row 0, column 1 is the third number.
  EXPECT_EQ(file.dataset("/model/dense_2/kernel").read_all<float>()[1], example().parameters[8 + 2]);
  EXPECT_EQ(file.text("weights_sha256"), weights_digest(example().parameters));
}

TEST_F(CheckpointFile, HoldsLongRows) {
  write(wide_example(), path_);
  EXPECT_TRUE(read(path_).parameters == wide_example().parameters);
}

TEST_F(CheckpointFile, ReplacesAnOlderFile) {
  write(example(1), path_);
  write(example(2), path_);
  EXPECT_EQ(read(path_).round, 2u);
}

TEST(CheckpointDigest, ChangesWithEverything) {
  const std::vector<std::pair<const char*, std::function<void(Checkpoint&)>>> changes = {
      {"round", [](Checkpoint& c) { ++c.round; }},
      {"seed", [](Checkpoint& c) { --c.seed; }},
      {"revision", [](Checkpoint& c) { c.revision += "-dirty"; }},
      {"config", [](Checkpoint& c) { c.config += " "; }},
      {"task", [](Checkpoint& c) { c.schema.task = data::Task::regression; }},
      {"classes", [](Checkpoint& c) { ++c.schema.classes; }},
      {"targets", [](Checkpoint& c) { ++c.schema.targets; }},
      {"feature_shape",
       [](Checkpoint& c) {
         c.schema.feature_shape = {1, 3};
       }},
      {"clients", [](Checkpoint& c) { ++c.clients; }},
      {"examples", [](Checkpoint& c) { ++c.examples; }},
      {"roster", [](Checkpoint& c) { c.roster[0] = 'f'; }},
      {"exponent", [](Checkpoint& c) { ++c.exponents[0]; }},
      {"clients that keep something", [](Checkpoint& c) { ++c.client_states.clients; }},
      {"what they keep", [](Checkpoint& c) { ++c.client_states.checksum; }},
      {"name of a label", [](Checkpoint& c) { c.schema.label_names[1] = "Yes"; }},
      {"name of a column",
       [](Checkpoint& c) {
         c.schema.columns = {"a", "b", "c"};
       }},
      {"layout", [](Checkpoint& c) { c.layout.add("dense_2", "bias", {0}); }},
      {"parameters", [](Checkpoint& c) { c.parameters.back() = -c.parameters.back(); }},
      {"name of a state", [](Checkpoint& c) { c.states[2].first = "server/velocity"; }},
      {"state", [](Checkpoint& c) { c.states[1].second[0] += 1.0F; }},
      {"states", [](Checkpoint& c) { c.states.pop_back(); }},
      {"history", [](Checkpoint& c) { c.history.pop_back(); }},
      {"clients in the history", [](Checkpoint& c) { ++c.history.back().clients; }},
      {"loss in the history", [](Checkpoint& c) { c.history.front().train_loss = kUnknown; }},
  };
  std::set<std::string> digests = {digest(example())};
  for (const auto& [what, change] : changes) {
    Checkpoint c = example();
    change(c);
    EXPECT_TRUE(digests.insert(digest(c)).second) << what;
  }
  EXPECT_EQ(digest(example()), digest(example()));
}

// Damage anywhere is found, unless it is where nothing is kept.
TEST_F(CheckpointFile, IsNotBelievedWithAFlippedByte) {
  write(example(), path_);
  const std::string whole = test::read_file(path_), intact = digest(read(path_));
  const std::string damaged = directory_ / "damaged.h5";
  std::size_t refused = 0;
  for (std::size_t i = 0; i < whole.size(); i += whole.size() / 600 + 1) {
    std::string flipped = whole;
    flipped[i] = static_cast<char>(flipped[i] ^ (1 << i % 8));
    test::write_file(damaged, flipped);
    try {
      EXPECT_EQ(digest(read(damaged)), intact) << "byte " << i;
    } catch (const Error& error) {
      EXPECT_EQ(error.code(), ExitCode::bad_data) << "byte " << i << ": " << error.what();
      ++refused;
    }
  }
  EXPECT_GT(refused, 120u);
}

TEST_F(CheckpointFile, IsNotBelievedWhenCutShort) {
  write(example(), path_);
  const std::string whole = test::read_file(path_);
  for (const std::size_t size :
       {std::size_t{0}, std::size_t{7}, std::size_t{100}, whole.size() / 2, whole.size() - 1}) {
    test::write_file(path_, whole.substr(0, size));
    expect_error(ExitCode::bad_data, {path_}, [&] { read(path_); });
  }
}

TEST_F(CheckpointFile, IsNotBelievedWithOthersWeights) {
  write(example(), path_);
  {
    const hdf5::Handle file(H5Fopen(path_.c_str(), H5F_ACC_RDWR, H5P_DEFAULT), H5Fclose);
    const hdf5::Handle bias(H5Dopen2(file.get(), "/model/dense_1/bias", H5P_DEFAULT), H5Dclose);
    const std::array<float, 2> values = {1, 2};
    ASSERT_GE(H5Dwrite(bias.get(), H5T_NATIVE_FLOAT, H5S_ALL, H5S_ALL, H5P_DEFAULT, values.data()), 0);
  }
  expect_error(ExitCode::bad_data, {path_, "digest"}, [&] { read(path_); });
}

// Another file takes the place of the one being written: what is read back is compared with what is in memory.
TEST_F(CheckpointFile, IsReadBackBeforeItCounts) {
  Checkpoint c = example();
  const std::string other = directory_ / "other.h5", spare = directory_ / "spare.h5", partial = path_ + ".partial";
  const auto refused = [&] {
    fs::copy_file(other, spare, fs::copy_options::overwrite_existing);
    std::atomic<bool> over = false;
    std::thread swap([&] {
      while (!over)
        if (fs::exists(partial)) return fs::rename(spare, partial);
    });
    bool failed = false;
    try {
      write(c, path_);
    } catch (const Error& error) {
      EXPECT_EQ(error.code(), ExitCode::io) << error.what();
      failed = true;
    }
    over = true;
    swap.join();
    return failed;
  };
  const auto in_time = [&] {  // the swap may come too late
    for (int attempt = 0; attempt < 1000; ++attempt)
      if (refused()) return true;
    return false;
  };

  Checkpoint later = c;
  ++later.round;
  write(later, other);
  EXPECT_TRUE(in_time());
  const auto expect_refused_after = [&](auto change) {
    write(c, other);  // and with its digest, but other contents
    change(hdf5::Handle(H5Fopen(other.c_str(), H5F_ACC_RDWR, H5P_DEFAULT), H5Fclose));
    EXPECT_TRUE(in_time());
  };
  const auto expect_refused_with_others = [&](const std::string& name) {
    SCOPED_TRACE(name);
    expect_refused_after([&](const hdf5::Handle& file) {
      const hdf5::Handle dataset(H5Dopen2(file.get(), name.c_str(), H5P_DEFAULT), H5Dclose);
      const Vector values(c.layout.size(), 0.125F);
      ASSERT_GE(H5Dwrite(dataset.get(), H5T_NATIVE_FLOAT, H5S_ALL, H5S_ALL, H5P_DEFAULT, values.data()), 0);
    });
  };
  expect_refused_with_others("/model/dense_1/bias");
  expect_refused_with_others("/" + c.states.back().first);
  expect_refused_after([&](const hdf5::Handle& file) {
    const hdf5::Handle seed(H5Aopen(file.get(), "seed", H5P_DEFAULT), H5Aclose);
    const std::uint64_t value = c.seed + 1;
    ASSERT_GE(H5Awrite(seed.get(), H5T_NATIVE_UINT64, &value), 0);
  });
  c = wide_example();  // also the first of several blocks
  expect_refused_with_others("/model/dense_1/kernel");
  EXPECT_FALSE(fs::exists(partial));
}

TEST_F(CheckpointFile, RefusesTensorsOfOtherShapes) {
  const std::array<hsize_t, 3> cube = {1, 2, 1};
  for (const auto& [dimensions, found] : {std::pair(0, "one dimension or more"), std::pair(3, "the digest")}) {
    fs::remove(path_);
    write(example(), path_);
    {
      const hdf5::Handle file(H5Fopen(path_.c_str(), H5F_ACC_RDWR, H5P_DEFAULT), H5Fclose);
      ASSERT_GE(H5Ldelete(file.get(), "/model/dense_1/bias", H5P_DEFAULT), 0);
      const hdf5::Handle space(
          dimensions == 0 ? H5Screate(H5S_SCALAR) : H5Screate_simple(dimensions, cube.data(), nullptr), H5Sclose);
      const hdf5::Handle bias(H5Dcreate2(file.get(), "/model/dense_1/bias", H5T_NATIVE_FLOAT, space.get(), H5P_DEFAULT,
                                         H5P_DEFAULT, H5P_DEFAULT),
                              H5Dclose);
      const std::array<float, 2> values = {1, 2};
      ASSERT_GE(H5Dwrite(bias.get(), H5T_NATIVE_FLOAT, H5S_ALL, H5S_ALL, H5P_DEFAULT, values.data()), 0);
    }
    expect_error(ExitCode::bad_data, {path_, found}, [&] { read(path_); });
  }
}

// What could not be read back is not left behind as a checkpoint.
TEST_F(CheckpointFile, IsNotWrittenWithoutAHistoryOrWithNamesThatRunTogether) {
  Checkpoint c = example();
  c.history.clear();
  expect_error(ExitCode::io, {path_, "/history", "a row at least"}, [&] { write(c, path_); });
  c = example();
  c.layout.add("two words", "bias", {3});
  c.parameters.resize(c.layout.size());
  expect_error(ExitCode::io, {path_, "/model", "layer/tensor names"}, [&] { write(c, path_); });
  EXPECT_EQ(files(), std::set<std::string>{});
}

TEST_F(CheckpointFile, RefusesOtherFiles) {
  expect_error(ExitCode::bad_data, {path_}, [&] { read(path_); });
  hdf5::File file = hdf5::File::create(path_);
  file.set_text("format", "fedmpi-shard");
  file.close();
  expect_error(ExitCode::bad_data, {path_, "fedmpi-checkpoint", "fedmpi-shard"}, [&] { read(path_); });
}

TEST_F(CheckpointFile, RefusesAnotherVersion) {
  hdf5::File file = hdf5::File::create(path_);
  file.set_text("format", "fedmpi-checkpoint");
  file.set_integers("version", std::vector<std::uint64_t>{7});
  file.close();
  expect_error(ExitCode::bad_data, {path_, "version 2", "found 7"}, [&] { read(path_); });
}

TEST_F(CheckpointFile, LeavesNothingBehindWhereItCannotBeWritten) {
  const std::string missing = directory_ / "missing/checkpoint.h5";
  expect_error(ExitCode::cannot_create, {missing}, [&] { write(example(), missing); });
  EXPECT_TRUE(files().empty());

  fs::create_directory(path_);  // the name is taken by what cannot be replaced
  test::write_file(path_ + "/file", "");
  expect_error(ExitCode::io, {path_}, [&] { write(example(), path_); });
  EXPECT_EQ(files(), (std::set<std::string>{"checkpoint.h5"}));
}

TEST_F(CheckpointFile, TakesTheNameOfAnEarlierAttempt) {
  test::write_file(path_ + ".partial", "left by a run that was killed");
  write(example(), path_);
  EXPECT_EQ(read(path_).round, example().round);
  EXPECT_EQ(files(), (std::set<std::string>{"checkpoint.h5"}));
}

TEST(CheckpointNames, FollowTheTask) {
  EXPECT_EQ(metric_name(data::Task::classification), "accuracy");
  EXPECT_EQ(metric_name(data::Task::regression), "rmse");
  EXPECT_FALSE(revision().empty());
}

}  // namespace
}  // namespace fedmpi::checkpoint
