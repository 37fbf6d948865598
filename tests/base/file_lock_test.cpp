#include "base/file_lock.hpp"

#include <gtest/gtest.h>
#include <unistd.h>

#include <chrono>
#include <filesystem>
#include <optional>
#include <thread>

#include "support/expect_error.hpp"
#include "support/temporary_directory.hpp"

namespace fedmpi {
namespace {

namespace fs = std::filesystem;

class Locking : public testing::Test {
 protected:
  test::TemporaryDirectory directory_;
  std::string path_ = directory_ / "lock";
};

TEST_F(Locking, RefusesASecondHolderAndNamesTheFirst) {
  const FileLock first(path_, "here");
  test::expect_error(ExitCode::cannot_create,
                     {"here: " + path_ + " is held by process " + std::to_string(getpid()) + " on "},
                     [&] { const FileLock second(path_, "here"); });
  EXPECT_TRUE(fs::exists(path_));
}

TEST_F(Locking, WaitsForAHolderThatIsJustEnding) {
  std::optional<FileLock> first;
  first.emplace(path_, "here");
  std::thread ending([&] {
    std::this_thread::sleep_for(std::chrono::milliseconds(200));
    first.reset();
  });
  { const FileLock second(path_, "here"); }
  ending.join();
  EXPECT_FALSE(fs::exists(path_)) << "nothing is left behind";
}

TEST_F(Locking, TakesWhatAKilledHolderLeftBehind) {
  test::write_file(path_, "process 1 on a node that has been forgotten, with a longer name than others\n");
  const FileLock lock(path_, "here");
  EXPECT_EQ(test::read_file(path_).find("process " + std::to_string(getpid()) + " on "), 0u);
  EXPECT_EQ(test::read_file(path_).find("forgotten"), std::string::npos);
}

TEST_F(Locking, RefusesWhatCannotBeWritten) {
  test::expect_error(ExitCode::cannot_create,
                     {"there: " + directory_ / "missing/lock" + " cannot be written: No such file"},
                     [&] { const FileLock lock(directory_ / "missing/lock", "there"); });
}

}  // namespace
}  // namespace fedmpi
