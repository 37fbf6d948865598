#include "data/schema.hpp"

#include <fmt/ranges.h>

#include <functional>
#include <numeric>

namespace fedmpi::data {

std::size_t Schema::features() const {
  return std::accumulate(feature_shape.begin(), feature_shape.end(), std::size_t{1}, std::multiplies<>());
}

std::size_t Schema::row_bytes() const { return features() * (type == FeatureType::uint8 ? 1 : sizeof(float)); }

std::size_t Schema::example_bytes() const {
  return row_bytes() + (task == Task::classification ? sizeof(std::int32_t) : targets * sizeof(float));
}

bool Schema::matches(const Schema& other) const {
  return task == other.task && features() == other.features() && targets == other.targets;
}

std::string Schema::text() const {
  return fmt::format("{} features and {} {}", features(), task == Task::classification ? classes : targets,
                     task == Task::classification ? "classes" : "regression targets");
}

std::string Schema::stored_text() const {
  return fmt::format("{} {}", fmt::join(feature_shape, "×"), type == FeatureType::uint8 ? "uint8" : "float32");
}

}  // namespace fedmpi::data
