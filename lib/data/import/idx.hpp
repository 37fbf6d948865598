// IDX, the format of MNIST (Y. LeCun): a magic number 0 0 TYPE RANK, the dimensions as big-endian 32-bit
// numbers, then the elements, big-endian and row-major.
#pragma once

#include <memory>
#include <string>

#include "data/source.hpp"

namespace fedmpi::data {

// Examples of a file of features (dimension 0 = example; unsigned bytes stay bytes with scale 1/255, other
// types become float32) and a file of whole-number labels; both gzipped or not.
std::unique_ptr<Source> open_idx(const std::string& features, const std::string& labels);

// The two splits of a directory by their usual names, train-… and t10k-…
Input open_idx_directory(const std::string& directory);

}  // namespace fedmpi::data
