#include "base/error.hpp"

#include <new>
#include <system_error>

namespace fedmpi {

Error explained(const std::exception& thrown) {
  if (const auto* error = dynamic_cast<const Error*>(&thrown)) return *error;
  if (dynamic_cast<const std::bad_alloc*>(&thrown) != nullptr) return {ExitCode::io, "not enough memory"};
  if (dynamic_cast<const std::system_error*>(&thrown) != nullptr) return {ExitCode::io, thrown.what()};
  return {ExitCode::bug, fmt::format("a bug, please report it: {}", thrown.what())};
}

}  // namespace fedmpi
