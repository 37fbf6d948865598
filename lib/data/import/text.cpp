#include "data/import/text.hpp"

#include <algorithm>
#include <charconv>
#include <cmath>
#include <cstring>
#include <limits>

namespace fedmpi::data {

namespace {

constexpr std::size_t kLongestLine = std::size_t{64} << 20;

template <class T>
std::optional<T> parse(std::string_view text) {
  if (text.starts_with('+') && !text.starts_with("+-")) text.remove_prefix(1);
  T value{};
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value);
  if (error != std::errc() || end != text.data() + text.size()) return {};
  return value;
}

}  // namespace

LineReader::LineReader(const std::string& path) : file_(path), buffer_(std::size_t{1} << 15) {}

void LineReader::rewind() {
  file_.rewind();
  position_ = end_ = 0;
  number_ = read_ = 0;
}

// False at the end of the file.
bool LineReader::append_line() {
  const std::size_t start = line_.size();
  for (;;) {
    if (position_ == end_) {
      end_ = file_.read(buffer_);
      position_ = 0;
      if (end_ == 0) {
        if (line_.size() == start) return false;
        break;
      }
    }
    const char* begin = reinterpret_cast<const char*>(buffer_.data()) + position_;
    const void* newline = std::memchr(begin, '\n', end_ - position_);
    const std::size_t length =
        newline == nullptr ? end_ - position_ : static_cast<std::size_t>(static_cast<const char*>(newline) - begin);
    line_.append(begin, length);
    position_ += length + (newline == nullptr ? 0 : 1);
    if (newline != nullptr || line_.size() > kLongestLine) break;
  }
  ++read_;
  if (start == 0) number_ = read_;
  if (line_.size() > kLongestLine)
    refuse("a line of at most 64 MiB", start == 0 ? "a longer one" : "a longer one: is a quote missing?");
  if (read_ == 1 && line_.starts_with("\xEF\xBB\xBF")) line_.erase(0, 3);  // the byte order mark of some editors
  if (line_.size() > start && line_.back() == '\r') line_.pop_back();
  if (line_.find('\0', start) != std::string::npos) refuse("text", "a NUL byte");
  return true;
}

bool LineReader::next(std::string_view& line) {
  do {
    line_.clear();
    if (!append_line()) return false;
    line = line_;
  } while (trim(line).empty());
  return true;
}

bool LineReader::extend(std::string_view& line) {
  line_ += '\n';
  const bool more = append_line();
  line = line_;
  return more;
}

void LineReader::refuse(std::string_view expected, std::string_view found) const {
  fail(ExitCode::bad_data, "{}:{}: expected {}, found {}", path(), number_, expected, found);
}

std::string_view trim(std::string_view text) {
  const std::size_t first = text.find_first_not_of(" \t");
  if (first == std::string_view::npos) return {};
  return text.substr(first, text.find_last_not_of(" \t") - first + 1);
}

std::vector<std::string_view> split(std::string_view text, char separator) {
  std::vector<std::string_view> parts;
  for (std::size_t begin = 0;;) {
    const std::size_t end = text.find(separator, begin);
    parts.push_back(text.substr(begin, end - begin));
    if (end == std::string_view::npos) return parts;
    begin = end + 1;
  }
}

std::optional<double> parse_number(std::string_view text) {
  const std::optional<double> value = parse<double>(text);
  return value && std::isfinite(*value) ? value : std::nullopt;
}

std::optional<float> parse_float(std::string_view text) {
  // By way of double: a value below float32's range is a zero, not an error.
  const std::optional<double> value = parse_number(text);
  if (!value || std::abs(*value) > std::numeric_limits<float>::max()) return {};
  return static_cast<float>(*value);
}

std::optional<std::uint64_t> parse_count(std::string_view text) { return parse<std::uint64_t>(text); }

std::string in_quotes(std::string_view text) {
  constexpr std::size_t kMost = 60;
  std::string quoted = fmt::format("'{}{}'", text.substr(0, kMost), text.size() > kMost ? "…" : "");
  std::replace(quoted.begin(), quoted.end(), '\n', ' ');
  return quoted;
}

}  // namespace fedmpi::data
