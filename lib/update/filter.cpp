#include "update/filter.hpp"

#include <cmath>

#include "base/error.hpp"

namespace fedmpi::update {

std::vector<std::unique_ptr<Filter>> make(const Options& options) {
  if (!(options.clip >= 0 && options.clip <= 1e30))
    fail(ExitCode::usage, "update.clip: expected 0 (no clipping) or a norm up to 1e30, found {}", options.clip);
  std::vector<std::unique_ptr<Filter>> filters;
  if (options.clip > 0) filters.push_back(make_clip(options.clip));
  return filters;
}

}  // namespace fedmpi::update
