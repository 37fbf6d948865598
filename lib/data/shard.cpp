#include "data/shard.hpp"

#include <glob.h>
#include <sys/stat.h>

#include <algorithm>
#include <array>

#include "base/error.hpp"
#include "base/magnitude.hpp"
#include "data/shard_native.hpp"
#include "data/shard_tff.hpp"

namespace fedmpi::data {

namespace {

Block sized(const Schema& schema, std::size_t rows) {
  Block block;
  block.schema = schema;
  block.rows = rows;
  if (schema.type == FeatureType::uint8)
    block.bytes.resize(rows * schema.features());
  else
    block.numbers.resize(rows * schema.features());
  if (schema.task == Task::classification)
    block.labels.resize(rows);
  else
    block.targets.resize(rows * schema.targets);
  return block;
}

void move_row(Block& block, std::size_t from, std::size_t to) {
  const auto move = [&](auto& values, std::size_t width) {
    if (!values.empty())
      std::copy_n(values.begin() + static_cast<std::ptrdiff_t>(from * width), width,
                  values.begin() + static_cast<std::ptrdiff_t>(to * width));
  };
  move(block.bytes, block.schema.features());
  move(block.numbers, block.schema.features());
  move(block.labels, 1);
  move(block.targets, block.schema.targets);
}

void shrink(Block& block, std::size_t rows) {
  block.dropped = block.rows - rows;
  block.rows = rows;
  const auto cut = [&](auto& values, std::size_t width) {
    if (!values.empty()) values.resize(rows * width);
  };
  cut(block.bytes, block.schema.features());
  cut(block.numbers, block.schema.features());
  cut(block.labels, 1);
  cut(block.targets, block.schema.targets);
}

}  // namespace

std::unique_ptr<Shard> Shard::open(const std::string& path) {
  hdf5::File file = hdf5::File::open(path);
  std::unique_ptr<Shard> shard;
  if (is_tff(file))
    shard = std::make_unique<TffShard>(std::move(file));
  else
    shard = std::make_unique<NativeShard>(std::move(file));
  const Schema& schema = shard->schema();
  if (schema.task == Task::classification && (schema.classes < 2 || schema.classes > 1'000'000))
    fail(ExitCode::bad_data, "{}: expected from 2 to 1,000,000 classes, found {}", path, schema.classes);
  return shard;
}

std::optional<std::string> Shard::fault(const Block& block, std::size_t row, std::size_t classes) const {
  const std::size_t width = schema_.features();
  if (schema_.type == FeatureType::float32 && !all_finite({block.numbers.data() + row * width, width}))
    return "expected finite features, found NaN or Inf";
  if (schema_.task == Task::regression && !all_finite({block.targets.data() + row * schema_.targets, schema_.targets}))
    return "expected finite labels, found NaN or Inf";
  if (schema_.task == Task::classification) {
    const std::int32_t label = block.labels[row];
    if (label < 0 || static_cast<std::size_t>(label) >= classes)
      return fmt::format("expected a label from 0 to {}, found {}", classes - 1, label);
  }
  return std::nullopt;
}

Block Shard::read(std::span<const std::uint64_t> boundaries, std::size_t classes, bool skip_bad) const {
  const std::size_t first = boundaries.front(), count = boundaries.back() - first;
  Block block = sized(schema_, count);
  block.file = path_;
  block.first_row = first;
  read_rows(first, count, block);
  block.offsets.reserve(boundaries.size());
  std::size_t kept = 0;
  for (std::size_t row = 0; row < count; ++row) {
    while (boundaries[block.offsets.size()] == first + row) block.offsets.push_back(kept);
    const auto problem = fault(block, row, classes);
    if (problem && !skip_bad) fail(ExitCode::bad_data, "{}: row {}: {}", path_, first + row, *problem);
    if (problem) continue;
    if (kept != row) move_row(block, row, kept);
    ++kept;
  }
  block.offsets.resize(boundaries.size(), kept);
  if (kept != count) shrink(block, kept);
  return block;
}

Block Shard::read(std::size_t first, std::size_t count, std::size_t classes, bool skip_bad) const {
  const std::array<std::uint64_t, 2> boundaries = {first, first + count};
  return read(boundaries, classes, skip_bad);
}

Block Shard::read_clients(std::size_t first, std::size_t count, std::size_t classes, bool skip_bad) const {
  for (std::size_t c = first; c < first + count; ++c)
    if (offsets_[c] == offsets_[c + 1])
      fail(ExitCode::bad_data, "{}: client '{}': expected at least one example, found none", path_, client_name(c));
  return read(std::span(offsets_).subspan(first, count + 1), classes, skip_bad);
}

std::vector<std::string> shard_files(const std::string& pattern) {
  struct stat info {};
  const bool directory = stat(pattern.c_str(), &info) == 0 && S_ISDIR(info.st_mode);
  const std::string search = directory ? pattern + "/shard-*.h5" : pattern;
  glob_t found{};
  std::vector<std::string> files;
  if (glob(search.c_str(), 0, nullptr, &found) == 0) files.assign(found.gl_pathv, found.gl_pathv + found.gl_pathc);
  globfree(&found);
  if (files.empty()) fail(ExitCode::usage, "data.shards: expected shards at '{}', found no file of that name", search);
  std::sort(files.begin(), files.end());
  return files;
}

}  // namespace fedmpi::data
