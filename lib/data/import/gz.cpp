#include "data/import/gz.hpp"

#include <algorithm>
#include <cerrno>
#include <cstring>

#include "base/error.hpp"

namespace fedmpi::data {

GzFile::GzFile(std::string path) : path_(std::move(path)), file_(gzopen(path_.c_str(), "rb")) {
  if (file_ == nullptr)
    fail(ExitCode::bad_data, "{}: expected a readable file, found: {}", path_, std::strerror(errno));
  gzbuffer(file_, 1U << 15);
}

GzFile::~GzFile() { gzclose_r(file_); }

std::size_t GzFile::read(std::span<std::byte> out) {
  constexpr std::size_t kMost = std::size_t{1} << 30;  // of one call; gzread counts in an int
  std::size_t done = 0;
  while (done < out.size()) {
    const auto wanted = static_cast<unsigned>(std::min(kMost, out.size() - done));
    const int got = gzread(file_, out.data() + done, wanted);
    if (got > 0) done += static_cast<std::size_t>(got);
    if (got == static_cast<int>(wanted)) continue;
    int code = Z_OK;
    const char* message = gzerror(file_, &code);
    if (code == Z_ERRNO) fail(ExitCode::bad_data, "{}: cannot read: {}", path_, std::strerror(errno));
    if (code == Z_BUF_ERROR)
      fail(ExitCode::bad_data, "{}: expected a whole gzip file, found one that is cut off", path_);
    if (code != Z_OK) fail(ExitCode::bad_data, "{}: expected intact gzip data, found damage: {}", path_, message);
    break;
  }
  return done;
}

void GzFile::rewind() {
  if (gzrewind(file_) != 0)
    fail(ExitCode::bad_data, "{}: expected a file that can be read again from its start, found one that cannot", path_);
}

}  // namespace fedmpi::data
