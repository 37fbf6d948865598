// A library to be loaded before all others (LD_PRELOAD) that lets one file operation of a process fail. Counted are
// the operations on what lies below the folder FEDMPI_IO_FOLDER, from 1; the one of number FEDMPI_IO_FAIL, or as many
// from there as FEDMPI_IO_TIMES says, does what FEDMPI_IO_HOW says:
//
//   ENOSPC, EDQUOT, EIO   fails with that error; a write has written half before
//   short                 a read or write does half of what it is asked for; anything else is not touched
//   full                  what needs room fails with ENOSPC, anything else is not touched
//
// With FEDMPI_IO_LOG each operation is a line "NUMBER NAME PATH" in that file.
#include <dirent.h>
#include <dlfcn.h>
#include <fcntl.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <sys/uio.h>
#include <unistd.h>

#include <array>
#include <atomic>
#include <cerrno>
#include <climits>
#include <cstdarg>
#include <cstdio>
#include <cstdlib>
#include <cstring>

namespace {

template <class F>
F next(const char* name) {
  return reinterpret_cast<F>(dlsym(RTLD_NEXT, name));
}
#define NEXT(name) next<decltype(&::name)>(#name)

std::atomic<long> count{0};
std::array<std::atomic<bool>, 4096> watched{};  // by descriptor
std::array<std::atomic<int>, 4096> opened{};    // so often

bool below(const char* path) {
  static const char* const folder = std::getenv("FEDMPI_IO_FOLDER");
  return folder != nullptr && path != nullptr && std::strncmp(path, folder, std::strlen(folder)) == 0;
}

bool is_watched(int fd) {
  return fd >= 0 && fd < static_cast<int>(watched.size()) && watched[static_cast<unsigned>(fd)];
}
int watch(int fd, bool yes) {
  if (fd < 0 || fd >= static_cast<int>(watched.size())) return fd;
  watched[static_cast<unsigned>(fd)] = yes;
  if (yes) ++opened[static_cast<unsigned>(fd)];
  return fd;
}

enum class Fate { go_on, fail, half };

// Of the operation that is about to be done; errno is set when it is to fail.
Fate fate(const char* name, const char* path) {
  static const char* const at = std::getenv("FEDMPI_IO_FAIL");
  static const char* const how = std::getenv("FEDMPI_IO_HOW");
  static const char* const log = std::getenv("FEDMPI_IO_LOG");
  const long number = ++count;
  if (log != nullptr) {
    std::array<char, PATH_MAX + 64> line{};
    const int length = std::snprintf(line.data(), line.size(), "%ld %s %s\n", number, name, path);
    const int fd = NEXT(open)(log, O_WRONLY | O_APPEND | O_CREAT, 0600);
    if (NEXT(write)(fd, line.data(), static_cast<std::size_t>(length)) != length) std::abort();
    NEXT(close)(fd);
  }
  static const char* const times = std::getenv("FEDMPI_IO_TIMES");
  const long first = at != nullptr ? std::atol(at) : 0, last = first + (times != nullptr ? std::atol(times) : 1);
  if (first == 0 || number < first || number >= last) return Fate::go_on;
  if (std::strcmp(how, "short") == 0) return Fate::half;
  const bool needs_room = std::strstr(name, "write") != nullptr || std::strcmp(name, "mkdir") == 0 ||
                          std::strcmp(name, "symlink") == 0 || std::strcmp(name, "fsync") == 0;
  if (std::strcmp(how, "full") == 0 && !needs_room) return Fate::go_on;
  errno = std::strcmp(how, "EIO") == 0 ? EIO : std::strcmp(how, "EDQUOT") == 0 ? EDQUOT : ENOSPC;
  return Fate::fail;
}

// A read or write: `work(bytes)` does it.
template <class Work>
ssize_t transfer(const char* name, int fd, std::size_t bytes, bool writes, Work work) {
  if (!is_watched(fd)) return work(bytes);
  const Fate f = fate(name, "");
  if (f == Fate::half && bytes > 1) return work(bytes / 2);
  if (f != Fate::fail) return work(bytes);
  const int error = errno;
  if (writes && bytes > 1) work(bytes / 2);
  errno = error;
  return -1;
}

template <class Result, class Work>
Result on_path(const char* name, const char* path, Result failed, Work work) {
  return below(path) && fate(name, path) == Fate::fail ? failed : work();
}

}  // namespace

extern "C" {

int open(const char* path, int flags, ...) {
  va_list more;
  va_start(more, flags);
  const mode_t mode = (flags & (O_CREAT | O_TMPFILE)) != 0 ? va_arg(more, mode_t) : 0;
  va_end(more);
  return on_path("open", path, -1, [&] { return watch(NEXT(open)(path, flags, mode), below(path)); });
}
int open64(const char* path, int flags, ...) {
  va_list more;
  va_start(more, flags);
  const mode_t mode = (flags & (O_CREAT | O_TMPFILE)) != 0 ? va_arg(more, mode_t) : 0;
  va_end(more);
  return on_path("open64", path, -1, [&] { return watch(NEXT(open64)(path, flags, mode), below(path)); });
}
int openat(int folder, const char* path, int flags, ...) {
  va_list more;
  va_start(more, flags);
  const mode_t mode = (flags & (O_CREAT | O_TMPFILE)) != 0 ? va_arg(more, mode_t) : 0;
  va_end(more);
  return on_path("openat", path, -1, [&] { return watch(NEXT(openat)(folder, path, flags, mode), below(path)); });
}
FILE* fopen(const char* path, const char* mode) {
  return on_path("fopen", path, static_cast<FILE*>(nullptr), [&] {
    FILE* file = NEXT(fopen)(path, mode);
    if (file != nullptr) watch(fileno(file), below(path));
    return file;
  });
}
FILE* fopen64(const char* path, const char* mode) {
  return on_path("fopen64", path, static_cast<FILE*>(nullptr), [&] {
    FILE* file = NEXT(fopen64)(path, mode);
    if (file != nullptr) watch(fileno(file), below(path));
    return file;
  });
}
// What close() reports is an error of writing; the descriptor is gone in any case.
int fclose(FILE* file) {
  const int fd = fileno(file);
  const bool fails = is_watched(fd) && fate("fclose", "") == Fate::fail;
  const int error = errno;
  watch(fd, false);
  const int result = NEXT(fclose)(file);
  if (!fails) return result;
  errno = error;
  return EOF;
}
int close(int fd) {
  const bool fails = is_watched(fd) && fate("close", "") == Fate::fail;
  const int error = errno;
  watch(fd, false);
  const int result = NEXT(close)(fd);
  if (!fails) return result;
  errno = error;
  return -1;
}
DIR* opendir(const char* path) {
  return on_path("opendir", path, static_cast<DIR*>(nullptr), [&] {
    DIR* folder = NEXT(opendir)(path);
    if (folder != nullptr) watch(dirfd(folder), below(path));
    return folder;
  });
}
dirent* readdir(DIR* folder) {
  return is_watched(dirfd(folder)) && fate("readdir", "") == Fate::fail ? nullptr : NEXT(readdir)(folder);
}
dirent64* readdir64(DIR* folder) {
  return is_watched(dirfd(folder)) && fate("readdir64", "") == Fate::fail ? nullptr : NEXT(readdir64)(folder);
}
int closedir(DIR* folder) {
  watch(dirfd(folder), false);
  return NEXT(closedir)(folder);
}

ssize_t read(int fd, void* data, std::size_t bytes) {
  return transfer("read", fd, bytes, false, [&](std::size_t n) { return NEXT(read)(fd, data, n); });
}
ssize_t pread(int fd, void* data, std::size_t bytes, off_t at) {
  return transfer("pread", fd, bytes, false, [&](std::size_t n) { return NEXT(pread)(fd, data, n, at); });
}
ssize_t pread64(int fd, void* data, std::size_t bytes, off64_t at) {
  return transfer("pread64", fd, bytes, false, [&](std::size_t n) { return NEXT(pread64)(fd, data, n, at); });
}
ssize_t write(int fd, const void* data, std::size_t bytes) {
  return transfer("write", fd, bytes, true, [&](std::size_t n) { return NEXT(write)(fd, data, n); });
}
ssize_t pwrite(int fd, const void* data, std::size_t bytes, off_t at) {
  return transfer("pwrite", fd, bytes, true, [&](std::size_t n) { return NEXT(pwrite)(fd, data, n, at); });
}
ssize_t pwrite64(int fd, const void* data, std::size_t bytes, off64_t at) {
  return transfer("pwrite64", fd, bytes, true, [&](std::size_t n) { return NEXT(pwrite64)(fd, data, n, at); });
}
ssize_t writev(int fd, const iovec* parts, int n) {
  return transfer("writev", fd, 2, true,
                  [&](std::size_t bytes) { return NEXT(writev)(fd, parts, bytes == 2 ? n : 1); });
}
ssize_t preadv(int fd, const iovec* parts, int n, off_t at) {
  return transfer("preadv", fd, 2, false,
                  [&](std::size_t bytes) { return NEXT(preadv)(fd, parts, bytes == 2 ? n : 1, at); });
}

// A second one on the same descriptor is a fault of the program: the system may say that all is well, and have lost it.
int fsync(int fd) {
  static std::atomic<int> failed{-1};
  if (!is_watched(fd)) return NEXT(fsync)(fd);
  if (failed == fd + 4096 * opened[static_cast<unsigned>(fd)]) std::abort();
  if (fate("fsync", "") != Fate::fail) return NEXT(fsync)(fd);
  failed = fd + 4096 * opened[static_cast<unsigned>(fd)];
  return -1;
}
int fdatasync(int fd) { return fsync(fd); }
int syncfs(int fd) { return is_watched(fd) && fate("syncfs", "") == Fate::fail ? -1 : NEXT(syncfs)(fd); }
int ftruncate(int fd, off_t size) {
  return is_watched(fd) && fate("ftruncate", "") == Fate::fail ? -1 : NEXT(ftruncate)(fd, size);
}
int ftruncate64(int fd, off64_t size) {
  return is_watched(fd) && fate("ftruncate64", "") == Fate::fail ? -1 : NEXT(ftruncate64)(fd, size);
}
int flock(int fd, int operation) {
  return is_watched(fd) && fate("flock", "") == Fate::fail ? -1 : NEXT(flock)(fd, operation);
}

int rename(const char* from, const char* to) {
  return on_path("rename", from, -1, [&] { return NEXT(rename)(from, to); });
}
int mkdir(const char* path, mode_t mode) {
  return on_path("mkdir", path, -1, [&] { return NEXT(mkdir)(path, mode); });
}
int unlink(const char* path) {
  return on_path("unlink", path, -1, [&] { return NEXT(unlink)(path); });
}
int remove(const char* path) {
  return on_path("remove", path, -1, [&] { return NEXT(remove)(path); });
}
int rmdir(const char* path) {
  return on_path("rmdir", path, -1, [&] { return NEXT(rmdir)(path); });
}
int stat(const char* path, struct stat* info) {
  return on_path("stat", path, -1, [&] { return NEXT(stat)(path, info); });
}
int stat64(const char* path, struct stat64* info) {
  return on_path("stat64", path, -1, [&] { return NEXT(stat64)(path, info); });
}
int lstat(const char* path, struct stat* info) {
  return on_path("lstat", path, -1, [&] { return NEXT(lstat)(path, info); });
}
int fstat(int fd, struct stat* info) {
  return is_watched(fd) && fate("fstat", "") == Fate::fail ? -1 : NEXT(fstat)(fd, info);
}
int fstat64(int fd, struct stat64* info) {
  return is_watched(fd) && fate("fstat64", "") == Fate::fail ? -1 : NEXT(fstat64)(fd, info);
}
int access(const char* path, int mode) {
  return on_path("access", path, -1, [&] { return NEXT(access)(path, mode); });
}
ssize_t readlink(const char* path, char* text, std::size_t bytes) {
  return on_path("readlink", path, ssize_t{-1}, [&] { return NEXT(readlink)(path, text, bytes); });
}
int symlink(const char* to, const char* path) {
  return on_path("symlink", path, -1, [&] { return NEXT(symlink)(to, path); });
}

}  // extern "C"
