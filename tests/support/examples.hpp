// Small random data, held in memory.
#pragma once

#include <numeric>
#include <string>
#include <vector>

#include "base/random.hpp"
#include "client/algorithm.hpp"
#include "data/dataset.hpp"

namespace fedmpi::test {

inline data::Schema classification(std::size_t features, std::size_t classes) {
  data::Schema schema;
  schema.classes = classes;
  schema.feature_shape = {features};
  return schema;
}

inline data::Schema regression(std::size_t features, std::size_t targets) {
  data::Schema schema;
  schema.task = data::Task::regression;
  schema.targets = targets;
  schema.feature_shape = {features};
  return schema;
}

// Features and targets are uniform in [-1, 1], bytes and labels uniform in their range. Clients of the given
// sizes, the first of which is `first_client`.
inline data::Block random_block(const data::Schema& schema, const std::vector<std::uint64_t>& sizes,
                                std::uint64_t seed = 1, data::ClientId first_client = 0) {
  Stream stream(seed, Purpose::generate);
  data::Block block;
  block.schema = schema;
  block.rows = std::accumulate(sizes.begin(), sizes.end(), std::uint64_t{0});
  block.first_client = first_client;
  block.offsets.assign(1, 0);
  for (const std::uint64_t size : sizes) block.offsets.push_back(block.offsets.back() + size);

  const auto uniform = [&](std::size_t n) {
    Vector values(n);
    for (float& x : values) x = static_cast<float>(2 * stream.uniform() - 1);
    return values;
  };
  if (schema.type == data::FeatureType::float32) {
    const Vector numbers = uniform(block.rows * schema.features());
    block.numbers.assign(numbers.begin(), numbers.end());
  } else {
    block.bytes.resize(block.rows * schema.features());
    for (std::uint8_t& x : block.bytes) x = static_cast<std::uint8_t>(stream.below(256));
  }
  if (schema.task == data::Task::regression) {
    block.targets = uniform(block.rows * schema.targets);
  } else {
    block.labels.resize(block.rows);
    for (std::int32_t& label : block.labels) label = static_cast<std::int32_t>(stream.below(schema.classes));
  }
  return block;
}

// Normal values with that standard deviation.
inline Vector random_vector(std::size_t n, double deviation = 1.0, std::uint64_t seed = 1) {
  Stream stream(seed, Purpose::generate, 1);
  Vector values(n);
  for (float& x : values) x = static_cast<float>(deviation * stream.normal());
  return values;
}

// A thread that trains clients, with places of its own for what they reply, which in a round are the exchange's and the
// states'.
struct Worker {
  Worker(const model::Model& model, const client::Algorithm& algorithm, const data::Schema& schema, std::size_t largest)
      : local(model, schema, largest),
        update(model.layout().size()),
        rest(algorithm.up().size()),
        kept(algorithm.kept().size()) {}

  client::Trained train(const client::Algorithm& algorithm, const client::Assignment& assignment) {
    return algorithm.train(assignment, local, {{update, rest}, kept});
  }
  bool operator==(const Worker& other) const {
    return update == other.update && rest == other.rest && kept == other.kept;
  }

  client::HostLocal local;
  Vector update, rest, kept;
};

}  // namespace fedmpi::test
