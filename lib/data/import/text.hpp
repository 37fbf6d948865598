// Reading text: lines with their numbers, and numbers that are either whole and finite or refused.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "base/error.hpp"
#include "data/import/gz.hpp"

namespace fedmpi::data {

class LineReader {
 public:
  explicit LineReader(const std::string& path);

  // The next line that is not blank, without its line ending (LF or CRLF; the last line needs none); false at
  // the end. The view lives until the next call. Error(bad_data) for a line above 64 MiB or with a NUL byte.
  bool next(std::string_view& line);
  void rewind();
  const std::string& path() const { return file_.path(); }

  // "FILE:LINE: expected …, found …" as an Error(bad_data), for the line read last.
  [[noreturn]] void refuse(std::string_view expected, std::string_view found) const;

 private:
  bool read_line();

  GzFile file_;
  std::vector<std::byte> buffer_;
  std::size_t position_ = 0, end_ = 0;  // of what the buffer holds
  std::string line_;
  std::uint64_t number_ = 0;
};

std::string_view trim(std::string_view text);  // without spaces and tabs around it
std::vector<std::string_view> split(std::string_view text, char separator);

// A number that is the whole of `text`, a leading + allowed; empty for anything else, NaN and infinity
// included.
std::optional<double> parse_number(std::string_view text);
std::optional<float> parse_float(std::string_view text);  // within the range of float32
std::optional<std::uint64_t> parse_count(std::string_view text);

// `found` of an error message: quoted, and cut short when long.
std::string in_quotes(std::string_view text);

}  // namespace fedmpi::data
