// A file read from its start to its end, compressed by gzip or not (zlib's gzFile tells by itself).
#pragma once

#include <zlib.h>

#include <cstddef>
#include <span>
#include <string>

namespace fedmpi::data {

class GzFile {
 public:
  explicit GzFile(std::string path);  // Error(bad_data) when it cannot be opened
  GzFile(const GzFile&) = delete;
  GzFile& operator=(const GzFile&) = delete;
  ~GzFile();

  const std::string& path() const { return path_; }
  // Fills `out` and returns its size, or less at the end. Error(bad_data) when the compressed data is damaged
  // or cut.
  std::size_t read(std::span<std::byte> out);
  void rewind();

 private:
  std::string path_;
  gzFile file_;
};

}  // namespace fedmpi::data
