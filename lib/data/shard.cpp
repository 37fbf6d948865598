#include "data/shard.hpp"

#include <glob.h>
#include <sys/stat.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <cmath>
#include <cstdlib>
#include <cstring>
#include <filesystem>
#include <system_error>

#include "base/error.hpp"
#include "base/magnitude.hpp"
#include "data/shard_native.hpp"
#include "data/shard_tff.hpp"
#include "hdf5/probe.hpp"

namespace fedmpi::data {

namespace {

constexpr std::size_t kMostClasses = 1'000'000;

// Makes room for so many rows, in the memory that is there if it is enough.
void resize(Block& block, const Schema& schema, std::size_t rows) {
  block.schema = schema;
  block.rows = rows;
  const bool bytes = schema.type == FeatureType::uint8, classes = schema.task == Task::classification;
  block.bytes.resize(bytes ? rows * schema.features() : 0);
  block.numbers.resize(bytes ? 0 : rows * schema.features());
  block.labels.resize(classes ? rows : 0);
  block.targets.resize(classes ? 0 : rows * schema.targets);
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

// Shards numbered as `fedmpi shard` does it, shard-NNNNN.h5, with a number missing between them.
void refuse_gap(const std::string& directory, const std::vector<std::string>& files) {
  const auto name = [&](unsigned long number) { return fmt::format("{}/shard-{:05}.h5", directory, number); };
  unsigned long next = 0;
  for (const std::string& file : files) {
    const unsigned long number = std::strtoul(file.c_str() + directory.size() + std::strlen("/shard-"), nullptr, 10);
    if (file != name(number)) return;  // numbered otherwise, or not at all
    if (next > 0 && number != next)
      fail(ExitCode::bad_data, "data.shards: expected {} before {}, found none; a pattern takes the files as they are",
           name(next), file);
    next = number + 1;
  }
}

[[noreturn]] void refuse_search(const std::string& where, int error) {
  fail(ExitCode::bad_data, "data.shards: '{}' cannot be searched: {}", where, std::strerror(error));
}

std::vector<std::string> shards_in(const std::string& directory) {
  namespace fs = std::filesystem;
  std::vector<std::string> files;
  std::error_code error;
  for (fs::directory_iterator entry(directory, error), end; !error && entry != end; entry.increment(error)) {
    const std::string name = entry->path().filename().string();
    if (name.starts_with("shard-") && name.ends_with(".h5")) files.push_back(directory + "/" + name);
  }
  if (error) refuse_search(directory, error.value());
  return files;
}

std::vector<std::string> matching(const std::string& pattern) {
  glob_t found{};
  std::vector<std::string> files;
  const int outcome = glob(pattern.c_str(), GLOB_ERR, nullptr, &found);
  const int error = errno;
  if (outcome == 0) files.assign(found.gl_pathv, found.gl_pathv + found.gl_pathc);
  globfree(&found);
  if (outcome != 0 && outcome != GLOB_NOMATCH && error != ENOENT) refuse_search(pattern, error);
  return files;
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

// What the library is asked when a shard is opened and described.
void Shard::try_header(const std::string& path, std::uint64_t, std::uint64_t) {
  const auto shard = open_unprobed(path);
  shard->plain();
  shard->client_name(0);
  shard->client_name(shard->clients() - 1);
}

// What the library is asked when rows are read, a few MiB at a time.
void Shard::try_rows(const std::string& path, std::uint64_t first, std::uint64_t count) {
  const auto shard = open_unprobed(path);
  const std::uint64_t step = std::max<std::uint64_t>(1, (std::uint64_t{4} << 20) / shard->schema().row_bytes());
  for (const std::uint64_t end = first + count; first < end; first += step) {
    const std::uint64_t n = std::min(step, end - first);
    Block block;
    resize(block, shard->schema(), n);
    shard->read_rows(first, n, false, block);
  }
}

void Shard::probe_rows(std::size_t first, std::size_t count) const {
  if (plain() || (probed_first_ <= first && first + count <= probed_end_)) return;
  hdf5::probe(path_, try_rows, first, count, count * schema().row_bytes());
  probed_first_ = first;
  probed_end_ = first + count;
}

void Shard::open_soon(const std::string& path) { hdf5::probe_soon(path, try_header); }

std::unique_ptr<Shard> Shard::open(const std::string& path) {
  hdf5::probe(path, try_header);
  return open_unprobed(path);
}

std::unique_ptr<Shard> Shard::open_unprobed(const std::string& path) {
  hdf5::File file = hdf5::File::open(path);
  std::unique_ptr<Shard> shard;
  if (is_tff(file)) {
    shard = std::make_unique<TffShard>(std::move(file));
  } else {
    const std::string format = file.has_attribute("format") ? file.text("format") : "none";
    if (format != "fedmpi-shard") file.refuse("/", "format 'fedmpi-shard'", "'" + format + "'");
    shard = std::make_unique<NativeShard>(std::move(file));
  }
  const Schema& schema = shard->schema();
  const std::size_t least = shard->classes_inferred() ? 1 : 2;
  if (schema.task == Task::classification && (schema.classes < least || schema.classes > kMostClasses))
    fail(ExitCode::bad_data, "{}: expected from {} to {} classes, found {}", path, least, kMostClasses, schema.classes);
  return shard;
}

void Shard::infer_classes(const hdf5::Dataset& labels) {
  std::int32_t largest = 0;
  for (const std::int32_t label : labels.read_all<std::int32_t>(kNoClass)) largest = std::max(largest, label);
  schema_.classes = std::max(schema_.classes, static_cast<std::size_t>(largest) + 1);
  classes_inferred_ = true;
}

bool Shard::is_good(const Block& block, std::size_t row, std::size_t classes) const {
  const auto finite = [&](const auto& numbers, std::size_t width) {
    return numbers.empty() || all_finite({numbers.data() + row * width, width});
  };
  return finite(block.numbers, schema_.features()) && finite(block.targets, schema_.targets) &&
         (block.labels.empty() || static_cast<std::uint32_t>(block.labels[row]) < classes);
}

// Row `row` of the block, which is not good.
void Shard::refuse_row(const Block& block, std::size_t row, std::size_t row_of_file, std::size_t classes) const {
  const auto bad_of = [&](const auto& numbers, std::size_t width) {  // `width` where there is none
    const auto begin = numbers.begin() + static_cast<std::ptrdiff_t>(numbers.empty() ? 0 : row * width);
    const auto end = numbers.empty() ? begin : begin + static_cast<std::ptrdiff_t>(width);
    const auto bad = std::find_if_not(begin, end, [](float x) { return std::isfinite(x); });
    return bad == end ? width : static_cast<std::size_t>(bad - begin);
  };
  std::string expected = "finite features that float32 can hold", found;
  if (const std::size_t j = bad_of(block.numbers, schema_.features()); j < schema_.features()) {
    found = fmt::format("{} in feature {}", feature_text(row_of_file, j), j);
  } else if (schema_.task == Task::regression) {
    expected = "finite labels that float32 can hold";
    found = label_text(row_of_file, bad_of(block.targets, schema_.targets));
  } else {
    expected = fmt::format("a label from 0 to {}", classes - 1);
    found = label_text(row_of_file, 0);
  }
  fail(ExitCode::bad_data, "{}: row {}: expected {}, found {}", path_, row_of_file, expected, found);
}

bool Shard::all_good(const Block& block, std::size_t classes) const {
  // As unsigned numbers the negative labels are the largest.
  std::uint32_t largest = 0;
  for (const std::int32_t label : block.labels) largest = std::max(largest, static_cast<std::uint32_t>(label));
  return (block.labels.empty() || largest < classes) && all_finite(block.numbers) && all_finite(block.targets);
}

// Refuses or leaves out bad rows, and sets the block's runs: the rows between the boundaries.
void Shard::check(Block& block, std::span<const std::uint64_t> boundaries, std::size_t classes, bool skip_bad) const {
  const std::size_t first = boundaries.front(), count = block.rows;
  block.dropped = 0;
  block.offsets.resize(boundaries.size());
  if (all_good(block, classes)) {
    std::transform(boundaries.begin(), boundaries.end(), block.offsets.begin(), [&](auto row) { return row - first; });
    return;
  }
  std::size_t kept = 0, run = 0;
  for (std::size_t row = 0; row < count; ++row) {
    for (; boundaries[run] == first + row; ++run) block.offsets[run] = kept;
    const bool good = is_good(block, row, classes);
    if (!good && !skip_bad) refuse_row(block, row, first + row, classes);
    if (!good) continue;
    if (kept != row) move_row(block, row, kept);
    ++kept;
  }
  std::fill(block.offsets.begin() + static_cast<std::ptrdiff_t>(run), block.offsets.end(), kept);
  if (kept != count) shrink(block, kept);
}

Block Shard::read(std::span<const std::uint64_t> boundaries, std::size_t classes, bool skip_bad) const {
  const std::size_t first = boundaries.front(), count = boundaries.back() - first;
  probe_rows(first, count);
  Block block;
  resize(block, schema_, count);
  block.file = path_;
  block.first_row = first;
  read_rows(first, count, false, block);
  check(block, boundaries, classes, skip_bad);
  return block;
}

void Shard::read_again(std::span<const std::uint64_t> boundaries, std::size_t classes, bool skip_bad,
                       Block& block) const {
  const std::size_t first = boundaries.front(), count = boundaries.back() - first;
  resize(block, schema_, count);
  read_rows(first, count, true, block);
  check(block, boundaries, classes, skip_bad);
}

Block Shard::read(std::size_t first, std::size_t count, std::size_t classes, bool skip_bad) const {
  const std::array<std::uint64_t, 2> boundaries = {first, first + count};
  return read(boundaries, classes, skip_bad);
}

Block Shard::read_clients(std::size_t first, std::size_t count, std::size_t classes, bool skip_bad) const {
  for (std::size_t c = first; c < first + count && !skip_bad; ++c)
    if (offsets_[c] == offsets_[c + 1])
      fail(ExitCode::bad_data,
           "{}: client '{}': expected at least one example, found none; --data.skip-bad on leaves such clients out",
           path_, client_name(c));
  return read(std::span(offsets_).subspan(first, count + 1), classes, skip_bad);
}

std::vector<std::string> shard_files(const std::string& pattern) {
  // A name that is there is meant as it stands, whatever characters it has.
  struct stat info {};
  const bool exists = stat(pattern.c_str(), &info) == 0, directory = exists && S_ISDIR(info.st_mode);
  if (exists && !directory) return {pattern};
  std::vector<std::string> files = directory ? shards_in(pattern) : matching(pattern);
  if (files.empty())
    fail(ExitCode::bad_data, "data.shards: expected shards at '{}', found no file of that name",
         directory ? pattern + "/shard-*.h5" : pattern);
  std::sort(files.begin(), files.end());
  if (directory) refuse_gap(pattern, files);
  return files;
}

}  // namespace fedmpi::data
