// What the batch system says in environment variables.
#pragma once

#include <cstdint>
#include <optional>

namespace fedmpi {

// The whole number in an environment variable; none where it is not set or empty. Error(usage) when it is something
// else.
std::optional<std::int64_t> environment_number(const char* name);

}  // namespace fedmpi
