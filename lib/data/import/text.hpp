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

  // The next line that is not blank, without its line ending (LF or CRLF; the last line needs none) and
  // without a byte order mark; false at the end. The view lives until the next call. Error(bad_data) for a line above
  // 64 MiB or with a NUL byte.
  bool next(std::string_view& line);
  // Appends a line break and the line after `line`, blank or not, to `line`; false at the end of the file.
  bool extend(std::string_view& line);
  void rewind();
  const std::string& path() const { return file_.path(); }
  std::uint64_t number() const { return number_; }  // of the line that next() gave, from 1

  // "FILE:LINE: expected …, found …" as an Error(bad_data), for the line that next() gave.
  [[noreturn]] void refuse(std::string_view expected, std::string_view found) const;

 private:
  bool append_line();

  GzFile file_;
  std::vector<std::byte> buffer_;
  std::size_t position_ = 0, end_ = 0;  // of what the buffer holds
  std::string line_;
  std::uint64_t number_ = 0, read_ = 0;  // of the line that next() gave, and of the line read last
};

std::string_view trim(std::string_view text);  // without spaces and tabs around it
std::vector<std::string_view> split(std::string_view text, char separator);

// A number that is the whole of `text`, a leading + allowed; empty for anything else, NaN and infinity
// included.
std::optional<double> parse_number(std::string_view text);
std::optional<float> parse_float(std::string_view text);  // within the range of float32
std::optional<std::uint64_t> parse_count(std::string_view text);

// What parse_float() takes, as `expected` of an error message.
inline constexpr std::string_view kFloat = "a finite number within the range of float32";

// `found` of an error message: quoted, on one line, and cut short when long.
std::string in_quotes(std::string_view text);

}  // namespace fedmpi::data
