#include "base/environment.hpp"

#include <charconv>
#include <cstdlib>
#include <string_view>

#include "base/error.hpp"

namespace fedmpi {

std::optional<std::int64_t> environment_number(const char* name) {
  const char* set = std::getenv(name);
  const std::string_view text = set != nullptr ? set : "";
  if (text.empty()) return std::nullopt;
  std::int64_t value = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value);
  if (error != std::errc() || end != text.data() + text.size())
    fail(ExitCode::usage, "{}: expected a whole number, found '{}'", name, text);
  return value;
}

}  // namespace fedmpi
