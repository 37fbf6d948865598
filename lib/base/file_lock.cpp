#include "base/file_lock.hpp"

#include <fcntl.h>
#include <fmt/format.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <chrono>
#include <cstring>
#include <fstream>
#include <thread>

#include "base/error.hpp"

namespace fedmpi {

namespace {

constexpr std::chrono::seconds kPatience{10};
constexpr std::chrono::milliseconds kPause{50};

std::string myself() {
  std::array<char, 256> host{};
  gethostname(host.data(), host.size() - 1);
  return fmt::format("process {} on {}", getpid(), host.data());
}

std::string holder_of(const std::string& path) {
  std::ifstream file(path);
  std::string text;
  return std::getline(file, text) && text.size() < 400 ? text : "another process";
}

}  // namespace

FileLock::FileLock(std::string path, const std::string& what) : path_(std::move(path)) {
  const auto end = std::chrono::steady_clock::now() + kPatience;
  while (!take(what)) {
    if (std::chrono::steady_clock::now() > end)
      fail(ExitCode::cannot_create,
           "{}: {} is held by {}; wait for its end or choose another directory; if that process is gone, remove the "
           "file",
           what, path_, holder_of(path_));
    std::this_thread::sleep_for(kPause);
  }
  const std::string text = myself() + "\n";
  ssize_t written = ftruncate(file_, 0);
  for (std::size_t at = 0; written >= 0 && at < text.size(); at += static_cast<std::size_t>(written))
    written = write(file_, text.data() + at, text.size() - at);
  if (written >= 0) return;
  const int error = errno;
  unlink(path_.c_str());
  close(file_);
  fail(ExitCode::cannot_create, "{}: {} cannot be written: {}", what, path_, std::strerror(error));
}

bool FileLock::take(const std::string& what) {
  file_ = open(path_.c_str(), O_RDWR | O_CREAT | O_CLOEXEC, 0666);
  if (file_ < 0) fail(ExitCode::cannot_create, "{}: {} cannot be written: {}", what, path_, std::strerror(errno));
  const int error = flock(file_, LOCK_EX | LOCK_NB) == 0 ? 0 : errno;
  const bool no_locks = error == ENOSYS || error == EOPNOTSUPP || error == ENOLCK;
  excludes_ = !no_locks;
  if ((error == 0 || no_locks) && is_at_path()) return true;
  close(file_);
  if (error == 0 || no_locks || error == EWOULDBLOCK || error == EINTR) return false;
  fail(ExitCode::cannot_create, "{}: {} cannot be locked: {}", what, path_, std::strerror(error));
}

// Nobody has removed it meanwhile.
bool FileLock::is_at_path() const {
  struct stat held {};
  struct stat there {};
  return fstat(file_, &held) == 0 && stat(path_.c_str(), &there) == 0 && held.st_dev == there.st_dev &&
         held.st_ino == there.st_ino;
}

std::string FileLock::note() const {
  if (excludes_) return {};
  return fmt::format(
      "{}: the file system knows no locks (Lustre: mount it with -o flock), so a second process that writes here would "
      "not be noticed",
      path_);
}

FileLock::~FileLock() {
  if (is_at_path()) unlink(path_.c_str());  // before it is free, so that it is nobody else's yet
  close(file_);
}

}  // namespace fedmpi
