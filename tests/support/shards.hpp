// Shards with known content.
#pragma once

#include <cstdint>
#include <limits>
#include <numeric>
#include <string>
#include <vector>

#include "hdf5/file.hpp"

namespace fedmpi::test {

struct ShardContent {
  std::vector<std::uint64_t> sizes;  // of the clients
  float first = 0.0F;                // feature 0 of row r is first + r
  std::uint64_t classes = 3;         // labels go round them
  bool declared = true;              // the number of classes is
  std::size_t features = 2;
  std::size_t bad_row = SIZE_MAX;  // has a NaN
  std::uint64_t files = 0;         // that hold all the clients; 0: it does not say
  std::vector<std::string> columns = {}, label_names = {};
};

// Clients are called "NAME/0", "NAME/1", ….
inline void write_shard(const std::string& path, const std::string& name, const ShardContent& content) {
  const std::size_t rows = std::accumulate(content.sizes.begin(), content.sizes.end(), std::size_t{0});
  std::vector<float> numbers(rows * content.features);
  std::vector<std::int32_t> labels(rows);
  std::vector<std::string> names;
  std::vector<std::uint64_t> offsets = {0};
  for (std::size_t r = 0; r < rows; ++r) {
    numbers[r * content.features] =
        r == content.bad_row ? std::numeric_limits<float>::quiet_NaN() : content.first + static_cast<float>(r);
    labels[r] = static_cast<std::int32_t>(r % content.classes);
  }
  for (const std::uint64_t n : content.sizes) {
    names.push_back(name + "/" + std::to_string(names.size()));
    offsets.push_back(offsets.back() + n);
  }
  hdf5::File file = hdf5::File::create(path);
  file.set_text("format", "fedmpi-shard");
  file.set_integers("version", std::vector<std::uint64_t>{1});
  file.set_text("task", "classification");
  if (content.declared) file.set_integers("classes", std::vector<std::uint64_t>{content.classes});
  if (content.files > 0) file.set_integers("files", std::vector<std::uint64_t>{content.files});
  file.create_dataset<float>("/features", {rows, content.features}).write(0, rows, std::span<const float>(numbers));
  file.create_dataset<std::int32_t>("/labels", {rows}).write(0, rows, std::span<const std::int32_t>(labels));
  file.create_dataset<std::uint64_t>("/clients/offsets", {offsets.size()})
      .write(0, offsets.size(), std::span<const std::uint64_t>(offsets));
  file.write_strings("/clients/names", names);
  if (!content.columns.empty()) file.write_strings("/columns", content.columns);
  if (!content.label_names.empty()) file.write_strings("/label_names", content.label_names);
  file.close();
}

}  // namespace fedmpi::test
