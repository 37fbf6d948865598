// Who wants to watch a run; called on rank 0 only.
#pragma once

#include <functional>
#include <string>

#include "checkpoint/history.hpp"
#include "federation/config.hpp"

namespace fedmpi::federation {

// Any of them may be empty.
struct Observer {
  std::function<void(const std::string& text)> plan;                               // before the first round
  std::function<void(const std::string& text)> note;                               // something the user should know
  std::function<void(const checkpoint::Row& row, const std::string& metric)> row;  // a round has ended
};

}  // namespace fedmpi::federation
