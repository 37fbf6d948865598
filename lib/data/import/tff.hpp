// Files of TensorFlow Federated as an input: the clients of the file are natural clients.
#pragma once

#include <memory>
#include <string>

#include "data/source.hpp"

namespace fedmpi::data {

std::unique_ptr<Source> open_tff(const std::string& path);

}  // namespace fedmpi::data
