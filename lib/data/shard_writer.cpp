#include "data/shard_writer.hpp"

#include <fcntl.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstdio>
#include <cstring>
#include <filesystem>
#include <numeric>
#include <optional>

#include "base/error.hpp"
#include "hdf5/file.hpp"

namespace fedmpi::data {

namespace {

using Offsets = std::vector<std::uint64_t>;

std::string aside(const std::string& path) { return path + ".partial"; }

// The rows of one window of the output, in output order.
struct Window {
  std::uint64_t first = 0, count = 0;  // rows
  std::vector<std::byte> features;
  std::vector<std::int32_t> labels;
  std::vector<float> targets;

  Window(const Schema& schema, std::uint64_t rows) : features(rows * schema.row_bytes()) {
    if (schema.task == Task::classification)
      labels.resize(rows);
    else
      targets.resize(rows * schema.targets);
  }

  void put(const Schema& schema, std::uint64_t row, const Example& example) {
    const std::uint64_t at = row - first;
    std::memcpy(features.data() + at * schema.row_bytes(), example.features.data(), schema.row_bytes());
    if (schema.task == Task::classification)
      labels[at] = example.label;
    else
      std::copy(example.target.begin(), example.target.end(), targets.data() + at * schema.targets);
  }
};

// One shard being written, whose clients' rows are offsets.front() … offsets.back() of the whole output.
class OpenShard {
 public:
  OpenShard(const Schema& schema, const ShardFile& shard, std::span<const std::uint64_t> offsets)
      : schema_(schema), file_(hdf5::File::create(aside(shard.path))), first_(offsets.front()), end_(offsets.back()) {
    const bool classification = schema.task == Task::classification;
    file_.set_text("format", "fedmpi-shard");
    file_.set_integers("version", std::vector<std::uint64_t>{1});
    file_.set_text("task", classification ? "classification" : "regression");
    if (classification) file_.set_integers("classes", std::vector<std::uint64_t>{schema.classes});
    const Offsets feature_shape(schema.feature_shape.begin(), schema.feature_shape.end());
    file_.set_integers("feature_shape", feature_shape);
    if (shard.of > 0) file_.set_integers("files", std::vector<std::uint64_t>{shard.of});

    const auto rows = static_cast<std::size_t>(end_ - first_);
    std::vector<std::size_t> shape = schema.feature_shape;
    shape.insert(shape.begin(), rows);
    if (schema.type == FeatureType::uint8) {
      features_ = file_.create_dataset<std::uint8_t>("/features", shape);
      file_.set_number("scale", static_cast<double>(schema.scale), "/features");
      file_.set_number("offset", static_cast<double>(schema.offset), "/features");
    } else {
      features_ = file_.create_dataset<float>("/features", shape);
    }
    labels_ = classification ? file_.create_dataset<std::int32_t>("/labels", {rows})
                             : file_.create_dataset<float>("/labels", {rows, schema.targets});

    Offsets own(offsets.begin(), offsets.end());
    for (std::uint64_t& offset : own) offset -= first_;
    hdf5::Dataset stored = file_.create_dataset<std::uint64_t>("/clients/offsets", {own.size()});
    stored.write(0, own.size(), std::span<const std::uint64_t>(own));
    stored.seal();
    file_.write_strings("/clients/names", shard.clients);
    if (!schema.columns.empty()) file_.write_strings("/columns", schema.columns);
    if (!schema.label_names.empty()) file_.write_strings("/label_names", schema.label_names);
  }

  std::uint64_t end() const { return end_; }

  // Rows `begin` … `end`-1 of the whole output, which lie in the window.
  void write(const Window& window, std::uint64_t begin, std::uint64_t end) {
    const std::size_t to = begin - first_, count = end - begin, from = begin - window.first;
    const std::byte* features = window.features.data() + from * schema_.row_bytes();
    const std::size_t elements = count * schema_.features();
    if (schema_.type == FeatureType::uint8)
      features_->write(to, count, std::span(reinterpret_cast<const std::uint8_t*>(features), elements));
    else
      features_->write(to, count, std::span(reinterpret_cast<const float*>(features), elements));
    if (schema_.task == Task::classification)
      labels_->write(to, count, std::span(window.labels).subspan(from, count));
    else
      labels_->write(to, count, std::span(window.targets).subspan(from * schema_.targets, count * schema_.targets));
  }

  void close() {
    features_->seal();
    labels_->seal();
    features_.reset();
    labels_.reset();
    file_.close();
  }

 private:
  const Schema& schema_;
  hdf5::File file_;
  std::uint64_t first_, end_;
  std::optional<hdf5::Dataset> features_, labels_;
};

// Reads the source once and keeps the examples whose output rows lie in the window.
void fill(Window& window, const Schema& schema, Source& source, std::span<const std::uint32_t> client,
          const Offsets& offsets, const std::function<void(std::size_t)>& progress) {
  Offsets next_row(offsets.begin(), offsets.end() - 1);
  Example example;
  std::size_t i = 0;
  for (source.rewind(); i < client.size() && source.next(example); ++i) {
    const std::uint64_t row = next_row[client[i]]++;
    if (row >= window.first && row < window.first + window.count) window.put(schema, row, example);
    progress(i);
  }
  if (i < client.size() || source.next(example))
    fail(ExitCode::bad_data, "expected the input to stay as it is while it is read, found {} than {} examples",
         i < client.size() ? "fewer" : "more", client.size());
}

// First row of each client in the output, and the end.
Offsets offsets_of(std::span<const std::uint32_t> client, std::size_t clients) {
  Offsets offsets(clients + 1);
  for (const std::uint32_t c : client) ++offsets[c + 1];
  std::partial_sum(offsets.begin(), offsets.end(), offsets.begin());
  return offsets;
}

void require_absent(std::span<const ShardFile> files) {
  for (const ShardFile& file : files)
    if (std::filesystem::exists(file.path))
      fail(ExitCode::cannot_create, "{}: already exists; remove it or choose another --out", file.path);
}

}  // namespace

std::vector<std::size_t> split_clients(std::span<const std::uint64_t> sizes, std::size_t files) {
  if (files == 0 || files > sizes.size())
    fail(ExitCode::usage, "--files: expected from 1 to {}, the number of clients, found {}", sizes.size(), files);
  const std::uint64_t total = std::accumulate(sizes.begin(), sizes.end(), std::uint64_t{0});
  std::vector<std::size_t> counts(files);
  std::uint64_t given = 0;
  std::size_t c = 0;
  for (std::size_t f = 0; f < files; ++f) {
    // Up to the file's share of the total, but at least one client, and one left for each file to come.
    const double share = static_cast<double>(total) * static_cast<double>(f + 1) / static_cast<double>(files);
    const std::size_t most = sizes.size() - (files - f - 1);
    do {
      given += sizes[c++];
      ++counts[f];
    } while (c < most && (f + 1 == files || static_cast<double>(given) + static_cast<double>(sizes[c]) / 2 <= share));
  }
  return counts;
}

ShardWriter::ShardWriter(Schema schema, std::size_t memory, Progress progress)
    : schema_(std::move(schema)), memory_(memory), progress_(std::move(progress)) {}

ShardWriter::~ShardWriter() {
  for (const std::string& path : pending_) std::remove(aside(path).c_str());
}

void ShardWriter::write(Source& source, std::span<const std::uint32_t> client, std::span<const ShardFile> files) {
  require_absent(files);
  std::size_t clients = 0;
  for (const ShardFile& file : files) clients += file.clients.size();
  const Offsets offsets = offsets_of(client, clients);
  const std::uint64_t rows = offsets.back();
  const std::size_t label_bytes =
      schema_.task == Task::classification ? sizeof(std::int32_t) : schema_.targets * sizeof(float);
  Window window(schema_, std::clamp<std::uint64_t>(memory_ / (schema_.row_bytes() + label_bytes), 1, rows));
  const std::uint64_t window_rows = window.features.size() / schema_.row_bytes();
  const std::size_t windows = (rows + window_rows - 1) / window_rows;

  std::optional<OpenShard> shard;
  std::size_t next_file = 0, next_client = 0;
  const auto open_next = [&] {
    const ShardFile& file = files[next_file++];
    std::remove(aside(file.path).c_str());  // left by a run that was killed
    pending_.push_back(file.path);
    shard.emplace(schema_, file, std::span(offsets).subspan(next_client, file.clients.size() + 1));
    next_client += file.clients.size();
  };

  for (std::size_t w = 0; w < windows; ++w) {
    window.first = w * window_rows;
    window.count = std::min(window_rows, rows - window.first);
    fill(window, schema_, source, client, offsets,
         [&](std::size_t done) { progress_("writing", w * rows + done, windows * rows); });
    for (std::uint64_t at = window.first, end = at + window.count; at < end;) {
      if (!shard) open_next();
      const std::uint64_t until = std::min(end, shard->end());
      shard->write(window, at, until);
      at = until;
      if (at < shard->end()) continue;
      shard->close();
      shard.reset();
    }
  }
}

void ShardWriter::write_text(const std::string& path, const std::string& text) {
  pending_.push_back(path);
  std::FILE* file = std::fopen(aside(path).c_str(), "w");
  if (file == nullptr) fail(ExitCode::cannot_create, "{}: cannot be created: {}", path, std::strerror(errno));
  const bool written = std::fwrite(text.data(), 1, text.size(), file) == text.size();
  if (std::fclose(file) != 0 || !written) fail(ExitCode::io, "{}: cannot be written: {}", path, std::strerror(errno));
}

void ShardWriter::commit() {
  if (pending_.empty()) return;
  // A file has its name only when all of it is on the disk: one call for all of them.
  const std::string folder = std::filesystem::path(pending_.front()).parent_path().string();
  const int fd = open(folder.empty() ? "." : folder.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC);
  const bool written = fd >= 0 && syncfs(fd) == 0;
  const int error = errno;
  if (fd >= 0) close(fd);
  if (!written) fail(ExitCode::io, "{}: cannot be written to the disk: {}", folder, std::strerror(error));
  while (!pending_.empty()) {
    const std::string& path = pending_.back();
    if (std::rename(aside(path).c_str(), path.c_str()) != 0)
      fail(ExitCode::io, "{}: cannot give the file its name: {}", path, std::strerror(errno));
    pending_.pop_back();
  }
}

}  // namespace fedmpi::data
