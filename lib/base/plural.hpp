// Numbers of things in sentences.
#pragma once

#include <fmt/format.h>

#include <string>

namespace fedmpi {

// "1 client", "2 clients".
template <class Number>
std::string counted(Number n, const char* noun) {
  return fmt::format("{} {}{}", n, noun, n == 1 ? "" : "s");
}

}  // namespace fedmpi
