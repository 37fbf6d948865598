#include "data/shard_native.hpp"

#include <algorithm>
#include <cmath>

#include "base/error.hpp"
#include "base/layout.hpp"

namespace fedmpi::data {

namespace {

constexpr std::uint64_t kVersion = 1;

std::string text_of(const std::vector<std::size_t>& shape) { return fmt::format("[{}]", fmt::join(shape, " × ")); }

}  // namespace

NativeShard::NativeShard(hdf5::File file)
    : Shard(file.path()),
      file_(std::move(file)),
      features_(file_.dataset("/features")),
      labels_(file_.dataset("/labels")) {
  read_header();
}

void NativeShard::read_header() {
  if (const auto v = file_.integers("version"); v[0] != kVersion)
    file_.refuse("/", fmt::format("version {}", kVersion), std::to_string(v[0]));
  const std::string task = file_.text("task");
  if (task != "classification" && task != "regression")
    file_.refuse("/", "task 'classification' or 'regression'", "'" + task + "'");
  schema_.task = task == "classification" ? Task::classification : Task::regression;
  if (file_.has_attribute("files")) files_ = file_.integers("files")[0];
  read_features();
  read_labels(features_.rows());
  read_offsets(features_.rows());
}

void NativeShard::read_features() {
  using enum hdf5::ElementClass;
  const auto& shape = features_.shape();
  if (shape.size() < 2) features_.refuse("the shape [examples × features]", text_of(shape));
  schema_.feature_shape.assign(shape.begin() + 1, shape.end());
  if (features_.size() == 0) features_.refuse("at least one example and feature", text_of(shape));
  if (file_.has_attribute("feature_shape")) {
    const auto declared = file_.integers("feature_shape");
    schema_.feature_shape.assign(declared.begin(), declared.end());
    const std::size_t features =
        elements_of(schema_.feature_shape, fmt::format("{}: feature_shape", path_), ExitCode::bad_data);
    if (features != features_.row_size())
      features_.refuse(fmt::format("{} features as feature_shape declares", features),
                       std::to_string(features_.row_size()));
  }
  schema_.columns = names("/columns", features_.row_size());

  stored_type_ = features_.type_name();
  if (features_.element_class() != integer && features_.element_class() != real)
    features_.refuse("whole or floating-point numbers", stored_type_);
  schema_.type = features_.is_uint8() ? FeatureType::uint8 : FeatureType::float32;
  const auto number = [&](const char* name, float otherwise) {
    if (!file_.has_attribute(name, "/features")) return otherwise;
    const auto value = static_cast<float>(file_.number(name, "/features"));
    if (schema_.type != FeatureType::uint8 && value != otherwise)
      features_.refuse(fmt::format("attribute '{}' with uint8 alone", name),
                       fmt::format("{} with {}", value, stored_type_));
    return value;
  };
  schema_.scale = number("scale", 1.0F);
  schema_.offset = number("offset", 0.0F);
  if (!std::isfinite(255.0F * schema_.scale + schema_.offset) || !std::isfinite(schema_.offset))
    features_.refuse("a scale and an offset that give finite features",
                     fmt::format("{} and {}", schema_.scale, schema_.offset));
}

void NativeShard::read_labels(std::size_t rows) {
  using enum hdf5::ElementClass;
  if (labels_.rows() != rows || labels_.shape().empty())
    labels_.refuse(fmt::format("{} rows as /features has", rows), text_of(labels_.shape()));
  if (schema_.task == Task::regression) {
    if (labels_.element_class() != real) labels_.refuse("floating-point labels", labels_.type_name());
    schema_.targets = labels_.row_size();
    if (schema_.targets == 0) labels_.refuse("at least one number per label", "none");
    schema_.label_names = names("/label_names", schema_.targets);
    return;
  }
  if ((labels_.element_class() != integer && labels_.element_class() != real) || labels_.row_size() != 1)
    labels_.refuse("one whole number per example", fmt::format("{} {}", labels_.type_name(), text_of(labels_.shape())));
  if (file_.has_attribute("classes"))
    schema_.classes = file_.integers("classes")[0];
  else if (file_.has("/label_names"))
    schema_.classes = file_.dataset("/label_names").rows();
  else
    infer_classes(labels_);
  schema_.label_names = names("/label_names", schema_.classes);
}

std::vector<std::string> NativeShard::names(const std::string& dataset, std::size_t count) const {
  if (!file_.has(dataset)) return {};
  const hdf5::Dataset stored = file_.dataset(dataset);
  if (stored.shape().size() != 1 || stored.rows() != count || stored.element_class() != hdf5::ElementClass::text)
    stored.refuse(fmt::format("{} strings", count), fmt::format("{} {}", stored.type_name(), text_of(stored.shape())));
  return stored.read_strings(0, count);
}

// A file without clients/offsets holds one client.
void NativeShard::read_offsets(std::size_t rows) {
  if (!file_.has("/clients") || !file_.has("/clients/offsets")) {
    offsets_ = {0, rows};
    return;
  }
  const hdf5::Dataset offsets = file_.dataset("/clients/offsets");
  if (offsets.shape().size() != 1 || offsets.rows() < 2 || offsets.element_class() != hdf5::ElementClass::integer)
    offsets.refuse("a list of at least two whole numbers",
                   fmt::format("{} {}", offsets.type_name(), text_of(offsets.shape())));
  offsets_ = offsets.read_all<std::uint64_t>(UINT64_MAX);
  for (std::size_t i = 0, last = offsets_.size() - 1; i <= last; ++i) {
    const std::uint64_t least = i == 0 ? 0 : i == last ? rows : offsets_[i - 1];
    if (offsets_[i] < least || offsets_[i] > (i == 0 ? 0 : rows))
      offsets.refuse(fmt::format("rising row numbers from 0 to {}", rows),
                     fmt::format("{} at position {}", offsets.number_text(i), i));
  }
  if (file_.has("/clients/names")) {
    const hdf5::Dataset names = file_.dataset("/clients/names");
    if (names.rows() != clients() || names.element_class() != hdf5::ElementClass::text)
      names.refuse(fmt::format("{} strings", clients()),
                   fmt::format("{} {}", names.type_name(), text_of(names.shape())));
  }
}

std::string NativeShard::client_name(std::size_t client) const {
  if (!file_.has("/clients") || !file_.has("/clients/names")) return fmt::format("{}", client);
  return file_.dataset("/clients/names").read_strings(client, 1)[0];
}

bool NativeShard::plain() const {
  return (schema_.type == FeatureType::uint8 ? features_.plain<std::uint8_t>() : features_.plain<float>()) &&
         (schema_.task == Task::classification ? labels_.plain<std::int32_t>() : labels_.plain<float>());
}

void NativeShard::read_rows(std::size_t first, std::size_t count, bool again, Block& block) const {
  const auto read = [&]<class T>(const hdf5::Dataset& from, std::span<T> out, std::optional<T> instead = {}) {
    again ? from.read_again(first, count, out, instead) : from.read(first, count, out, instead);
  };
  if (schema_.type == FeatureType::uint8)
    read(features_, std::span<std::uint8_t>(block.bytes));
  else
    read(features_, std::span<float>(block.numbers));
  if (schema_.task == Task::classification)
    read(labels_, std::span<std::int32_t>(block.labels), std::optional(kNoClass));
  else
    read(labels_, std::span<float>(block.targets));
}

}  // namespace fedmpi::data
