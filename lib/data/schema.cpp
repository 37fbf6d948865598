#include "data/schema.hpp"

#include <fmt/ranges.h>

#include <algorithm>

#include "base/error.hpp"
#include "base/layout.hpp"

namespace fedmpi::data {

namespace {

std::vector<std::size_t> without_ones(std::vector<std::size_t> shape) {
  std::erase(shape, 1);
  return shape;
}

std::optional<std::string> first_of_another_name(const char* what, const std::vector<std::string>& here,
                                                 const std::vector<std::string>& there) {
  for (std::size_t i = 0; i < std::min(here.size(), there.size()); ++i)
    if (here[i] != there[i]) return fmt::format("{} {} is called '{}' and there '{}'", what, i, here[i], there[i]);
  return std::nullopt;
}

}  // namespace

std::size_t Schema::features() const { return elements_of(feature_shape, "feature_shape", ExitCode::bad_data); }

std::size_t Schema::row_bytes() const { return features() * (type == FeatureType::uint8 ? 1 : sizeof(float)); }

std::size_t Schema::example_bytes() const {
  return row_bytes() + (task == Task::classification ? sizeof(std::int32_t) : targets * sizeof(float));
}

std::optional<std::string> Schema::difference(const Schema& other) const {
  const bool classification = task == Task::classification;
  const auto counts = [](std::size_t here, std::size_t there, const char* what) -> std::optional<std::string> {
    if (here == there) return std::nullopt;
    return fmt::format("{} {} and there {}", here, what, there);
  };
  if (task != other.task)
    return classification ? "classification and there regression" : "regression and there classification";
  if (const auto found = counts(features(), other.features(), "features")) return found;
  const auto shape = without_ones(feature_shape), shape_there = without_ones(other.feature_shape);
  if (shape.size() > 1 && shape_there.size() > 1 && shape != shape_there)
    return fmt::format("examples of the shape [{}] and there [{}]", fmt::join(feature_shape, " × "),
                       fmt::join(other.feature_shape, " × "));
  if (const auto found = first_of_another_name("column", columns, other.columns)) return found;
  if (const auto found = first_of_another_name(classification ? "class" : "target", label_names, other.label_names))
    return found;
  if (!classification) return counts(targets, other.targets, "regression targets");
  return classes == 0 || other.classes == 0 ? std::nullopt : counts(classes, other.classes, "classes");
}

std::string Schema::text() const {
  return fmt::format("{} features and {} {}", features(), task == Task::classification ? classes : targets,
                     task == Task::classification ? "classes" : "regression targets");
}

std::string Schema::stored_text() const {
  return fmt::format("{} {}", fmt::join(feature_shape, "×"), type == FeatureType::uint8 ? "uint8" : "float32");
}

}  // namespace fedmpi::data
