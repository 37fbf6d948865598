// A file that one process at a time may hold, wherever the file is seen.
#pragma once

#include <string>

namespace fedmpi {

class FileLock {
 public:
  // Creates the file, which says who holds it: "process 4711 on node3". Waits up to ten seconds for a holder that is
  // just ending, then Error(cannot_create), with `what` as the subject; so too if the file cannot be written. A file
  // system that knows no locks, as Lustre without -o flock, grants it to everybody: see note().
  FileLock(std::string path, const std::string& what);
  ~FileLock();  // removes the file; a process that is killed leaves it behind, held by nobody
  FileLock(const FileLock&) = delete;
  FileLock& operator=(const FileLock&) = delete;

  // Where nobody is kept from taking it too, a sentence that says so, for the user; else empty.
  std::string note() const;

 private:
  // Opens the file and takes it; false if another has it.
  bool take(const std::string& what);
  bool is_at_path() const;

  std::string path_;
  int file_ = -1;
  bool excludes_ = true;  // others
};

}  // namespace fedmpi
