// What the examples of a data set look like. Every shard of a federation has the same schema.
#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <vector>

namespace fedmpi::data {

enum class Task { classification, regression };
enum class FeatureType { uint8, float32 };  // as stored; uint8 stays uint8 in memory

struct Schema {
  Task task = Task::classification;
  std::size_t classes = 0;                 // classification; 0 = to be inferred from the largest label
  std::size_t targets = 1;                 // regression: numbers per label
  std::vector<std::size_t> feature_shape;  // of one example, row-major
  FeatureType type = FeatureType::float32;
  float scale = 1.0F, offset = 0.0F;  // feature = stored · scale + offset; stored is uint8
  // What the numbers mean; empty where the file does not say.
  std::vector<std::string> columns = {};      // a name for each feature
  std::vector<std::string> label_names = {};  // a name for each class, or for each target

  std::size_t features() const;       // numbers per example; Error(bad_data) where those of one outgrow 2^61
  std::size_t row_bytes() const;      // stored bytes of one example's features
  std::size_t example_bytes() const;  // of features and label, as held in memory
  std::string text() const;           // "784 features and 10 classes"
  std::string stored_text() const;    // "28×28 uint8"
  // The first thing that keeps examples of `other`, which is "there", from being examples of the same thing, in words;
  // nothing where both fit. What one of them does not say (names, classes = 0, in what shape a row of numbers is) is
  // not compared.
  std::optional<std::string> difference(const Schema& other) const;
  bool operator==(const Schema& other) const = default;
};

// One example as an importer hands it on. The spans live until the next example is asked for.
struct Example {
  std::span<const std::byte> features;  // Schema::row_bytes() bytes of the stored type
  std::int32_t label = 0;               // classification: 0 … classes-1
  std::span<const float> target;        // regression: Schema::targets numbers
  std::uint64_t client = 0;             // index into Source::client_names(); 0 where there are no natural clients
};

}  // namespace fedmpi::data
