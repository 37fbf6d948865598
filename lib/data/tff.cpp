#include "data/tff.hpp"

#include <fmt/ranges.h>

#include <array>

namespace fedmpi::data {

namespace {

constexpr const char* kRoot = "/examples";

struct FeatureNames {
  const char *features, *labels;
};
constexpr std::array<FeatureNames, 3> kKnown = {{{"pixels", "label"}, {"image", "label"}, {"x", "y"}}};

std::string path_of(std::string_view client, std::string_view feature) {
  return fmt::format("{}/{}/{}", kRoot, client, feature);
}

std::vector<std::size_t> example_shape(const hdf5::Dataset& features) {
  if (features.shape().empty()) features.refuse("a row per example", "a single number");
  std::vector<std::size_t> shape(features.shape().begin() + 1, features.shape().end());
  if (shape.empty()) shape.push_back(1);
  return shape;
}

bool is_number(const hdf5::Dataset& dataset) {
  return dataset.element_class() == hdf5::ElementClass::integer || dataset.element_class() == hdf5::ElementClass::real;
}

FeatureType type_of(const hdf5::Dataset& features) {
  if (!is_number(features)) features.refuse("numbers", features.type_name());
  return features.is_uint8() ? FeatureType::uint8 : FeatureType::float32;
}

std::string text_of(std::string_view type, const std::vector<std::size_t>& shape) {
  return fmt::format("{} [{}]", type, fmt::join(shape, " × "));
}

}  // namespace

bool is_tff(const hdf5::File& file) { return file.has(kRoot); }

std::vector<std::string> tff_clients(const hdf5::File& file) {
  std::vector<std::string> clients = file.children(kRoot);
  if (clients.empty()) file.refuse(kRoot, "a group per client", "none");
  return clients;
}

TffLayout tff_layout(const hdf5::File& file) {
  const std::string client = tff_clients(file).front();
  for (const FeatureNames& names : kKnown) {
    if (!file.has(path_of(client, names.features)) || !file.has(path_of(client, names.labels))) continue;
    const hdf5::Dataset features = file.dataset(path_of(client, names.features));
    TffLayout layout{names.features, names.labels, features.type_name(), {}};
    layout.schema.feature_shape = example_shape(features);
    layout.schema.type = type_of(features);
    if (layout.schema.features() == 0) features.refuse("at least one feature", "none");
    if (layout.schema.type == FeatureType::uint8) layout.schema.scale = 1.0F / 255.0F;
    return layout;
  }
  const std::string group = fmt::format("{}/{}", kRoot, client);
  file.refuse(group, "datasets 'pixels' and 'label', 'image' and 'label', or 'x' and 'y'",
              fmt::format("'{}'", fmt::join(file.children(group), "', '")));
}

TffClient tff_client(const hdf5::File& file, const TffLayout& layout, std::string_view client) {
  TffClient c{file.dataset(path_of(client, layout.features)), file.dataset(path_of(client, layout.labels))};
  const std::vector<std::size_t> shape = example_shape(c.features);
  if (shape != layout.schema.feature_shape || type_of(c.features) != layout.schema.type)
    c.features.refuse(text_of(layout.type_name, layout.schema.feature_shape) + " for an example as in the first client",
                      text_of(c.features.type_name(), shape));
  if (!is_number(c.labels) || c.labels.shape().empty() || c.labels.row_size() != 1 ||
      c.labels.rows() != c.features.rows())
    c.labels.refuse(fmt::format("{} whole numbers, one per example", c.features.rows()),
                    text_of(c.labels.type_name(), c.labels.shape()));
  return c;
}

}  // namespace fedmpi::data
