// The HDF5 files of TensorFlow Federated: /examples/<client>/<feature>, the first dimension being the
// example. Known are EMNIST (`pixels`, float32, background 1.0), CIFAR-100 (`image`, uint8), both with an
// integer `label` of shape [n] or [n, 1], and the names `x` and `y`. Whole numbers stored as floats are labels too.
#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "data/schema.hpp"
#include "hdf5/file.hpp"

namespace fedmpi::data {

struct TffLayout {
  std::string features;   // name of the features' dataset in each client's group
  std::string labels;     // name of the labels' dataset
  std::string type_name;  // of the features, as they are stored
  Schema schema;          // classification; classes = 0, since the file does not say
};

// The datasets of one client, checked against the layout and each other; rows are examples.
struct TffClient {
  hdf5::Dataset features, labels;
};

bool is_tff(const hdf5::File& file);
std::vector<std::string> tff_clients(const hdf5::File& file);  // in alphabetical order; at least one
TffLayout tff_layout(const hdf5::File& file);                  // as the first client shows it
TffClient tff_client(const hdf5::File& file, const TffLayout& layout, std::string_view client);

}  // namespace fedmpi::data
