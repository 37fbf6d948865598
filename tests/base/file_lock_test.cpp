#include "base/file_lock.hpp"

#include <gtest/gtest.h>
#include <sys/file.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <cerrno>
#include <chrono>
#include <filesystem>
#include <optional>
#include <thread>

#include "support/expect_error.hpp"
#include "support/temporary_directory.hpp"

namespace {

int error_of_flock = 0;  // what the file system answers; 0: it locks

}  // namespace

// Takes the place of the system's.
extern "C" int flock(int file, int operation) noexcept {
  if (error_of_flock == 0) return static_cast<int>(syscall(SYS_flock, file, operation));
  errno = error_of_flock;
  return -1;
}

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

// As Lustre is without -o flock: it is the user who has to know that nothing keeps a second run away.
TEST_F(Locking, SaysThatNothingIsLocked) {
  EXPECT_EQ(FileLock(path_, "here").note(), "");
  for (const int error : {ENOSYS, EOPNOTSUPP, ENOLCK}) {
    error_of_flock = error;
    const FileLock lock(path_, "here");
    error_of_flock = 0;
    EXPECT_EQ(lock.note().find(path_ + ": the file system knows no locks (Lustre: mount it with -o flock)"), 0u);
  }
  error_of_flock = EIO;
  test::expect_error(ExitCode::cannot_create, {"cannot be locked"}, [&] { const FileLock lock(path_, "here"); });
  error_of_flock = 0;
}

}  // namespace
}  // namespace fedmpi
