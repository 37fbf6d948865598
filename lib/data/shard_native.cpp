#include "data/shard_native.hpp"

#include <algorithm>
#include <cmath>

#include "base/error.hpp"

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

  const auto& shape = features_.shape();
  if (shape.size() < 2) features_.refuse("the shape [examples × features]", text_of(shape));
  const std::size_t rows = shape[0];
  schema_.feature_shape.assign(shape.begin() + 1, shape.end());
  if (file_.has_attribute("feature_shape")) {
    const auto declared = file_.integers("feature_shape");
    schema_.feature_shape.assign(declared.begin(), declared.end());
  }
  if (schema_.features() != features_.row_size())
    features_.refuse(fmt::format("{} features as feature_shape declares", schema_.features()),
                     std::to_string(features_.row_size()));
  if (rows == 0 || schema_.features() == 0) features_.refuse("at least one example and feature", text_of(shape));

  const bool bytes = features_.is_uint8();
  if (!bytes && !(features_.element_class() == hdf5::ElementClass::real && features_.element_bytes() == 4))
    features_.refuse("uint8 or float32", "another element type");
  schema_.type = bytes ? FeatureType::uint8 : FeatureType::float32;
  if (bytes) {
    if (file_.has_attribute("scale", "/features"))
      schema_.scale = static_cast<float>(file_.number("scale", "/features"));
    if (file_.has_attribute("offset", "/features"))
      schema_.offset = static_cast<float>(file_.number("offset", "/features"));
  }
  if (!std::isfinite(255.0F * schema_.scale + schema_.offset) || !std::isfinite(schema_.offset))
    features_.refuse("a scale and an offset that give finite features",
                     fmt::format("{} and {}", schema_.scale, schema_.offset));

  if (labels_.rows() != rows || labels_.shape().empty())
    labels_.refuse(fmt::format("{} rows as /features has", rows), text_of(labels_.shape()));
  if (schema_.task == Task::classification) {
    if (labels_.element_class() != hdf5::ElementClass::integer || labels_.row_size() != 1)
      labels_.refuse("one integer per example", "another type or shape");
    if (file_.has_attribute("classes"))
      schema_.classes = file_.integers("classes")[0];
    else {
      classes_inferred_ = true;
      for (const std::int32_t label : labels_.read_all<std::int32_t>())
        schema_.classes = std::max(schema_.classes, static_cast<std::size_t>(std::max(label, 0)) + 1);
    }
  } else {
    if (labels_.element_class() != hdf5::ElementClass::real) labels_.refuse("floating-point labels", "another type");
    schema_.targets = labels_.row_size();
    if (schema_.targets == 0) labels_.refuse("at least one number per label", "none");
  }
  if (file_.has("/columns")) schema_.columns = file_.dataset("/columns").read_strings(0, schema_.features());
  if (file_.has("/label_names"))
    schema_.label_names =
        file_.dataset("/label_names")
            .read_strings(0, schema_.task == Task::classification ? schema_.classes : schema_.targets);
  read_offsets(rows);
}

// A file without clients/offsets holds one client.
void NativeShard::read_offsets(std::size_t rows) {
  if (!file_.has("/clients") || !file_.has("/clients/offsets")) {
    offsets_ = {0, rows};
    return;
  }
  const hdf5::Dataset offsets = file_.dataset("/clients/offsets");
  if (offsets.shape().size() != 1 || offsets.rows() < 2 || offsets.element_class() != hdf5::ElementClass::integer)
    offsets.refuse("a list of at least two whole numbers", text_of(offsets.shape()));
  offsets_ = offsets.read_all<std::uint64_t>();
  if (offsets_.front() != 0 || offsets_.back() != rows || !std::is_sorted(offsets_.begin(), offsets_.end()))
    offsets.refuse(fmt::format("rising row numbers from 0 to {}", rows), "others");
  if (file_.has("/clients/names")) {
    const hdf5::Dataset names = file_.dataset("/clients/names");
    if (names.rows() != clients() || names.element_class() != hdf5::ElementClass::text)
      names.refuse(fmt::format("{} strings", clients()), text_of(names.shape()));
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
  const auto read = [&](const hdf5::Dataset& from, auto out) {
    again ? from.read_again(first, count, out) : from.read(first, count, out);
  };
  if (schema_.type == FeatureType::uint8)
    read(features_, std::span<std::uint8_t>(block.bytes));
  else
    read(features_, std::span<float>(block.numbers));
  if (schema_.task == Task::classification)
    read(labels_, std::span<std::int32_t>(block.labels));
  else
    read(labels_, std::span<float>(block.targets));
}

}  // namespace fedmpi::data
