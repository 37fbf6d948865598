#include "checkpoint/checkpoint.hpp"

#include <fcntl.h>
#include <fmt/format.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstdio>
#include <cstring>
#include <filesystem>
#include <map>

#include "base/digest.hpp"
#include "base/error.hpp"
#include "hdf5/file.hpp"
#include "hdf5/probe.hpp"

namespace fedmpi::checkpoint {

namespace {

constexpr std::uint64_t kVersion = 2;
constexpr const char* kFormat = "fedmpi-checkpoint";

void sync(const std::string& path) {
  const int fd = ::open(path.c_str(), O_RDONLY);
  const bool ok = fd >= 0 && ::fsync(fd) == 0;
  const int error = errno;
  if (fd >= 0) ::close(fd);
  if (!ok) fail(ExitCode::io, "{}: cannot be written to the disk: {}", path, std::strerror(error));
}

std::vector<std::uint64_t> whole(const std::vector<std::size_t>& shape) { return {shape.begin(), shape.end()}; }

std::string path_of(const Tensor& t) { return fmt::format("/model/{}/{}", t.layer, t.name); }

// The compound type of a history row, in memory and in the file alike.
hdf5::Handle row_type(const std::string& metric) {
  const hdf5::Exclusive alone;
  hdf5::Handle type(H5Tcreate(H5T_COMPOUND, sizeof(Row)), H5Tclose);
  for (const Column& c : columns(metric))
    H5Tinsert(type.get(), c.name.c_str(), c.offset, c.whole ? H5T_NATIVE_UINT64 : H5T_NATIVE_DOUBLE);
  return type;
}

using RowMajor = Eigen::Matrix<float, Eigen::Dynamic, Eigen::Dynamic, Eigen::RowMajor>;

std::span<const float> elements(const RowMajor& block) {
  return {block.data(), static_cast<std::size_t>(block.size())};
}

ConstMatrixView column(const Vector& values) { return {values.data(), static_cast<Eigen::Index>(values.size()), 1}; }

// A file shows a tensor row by row, a parameter vector holds it column by column. Calls each(first row, rows, block)
// for blocks of the dataset's rows, so that there is no second copy of a large tensor; `block` are the rows of the
// tensor's view, of which a row of more than two dimensions has several.
template <class Each>
void in_blocks(const ConstMatrixView& tensor, std::size_t rows, Each each) {
  constexpr Eigen::Index kElements = 1 << 20;
  const Eigen::Index of_row = rows == 0 ? 0 : tensor.rows() / static_cast<Eigen::Index>(rows);
  const Eigen::Index step = std::max<Eigen::Index>(1, kElements / std::max<Eigen::Index>(1, of_row * tensor.cols()));
  for (Eigen::Index i = 0; i < static_cast<Eigen::Index>(rows); i += step) {
    const Eigen::Index n = std::min(step, static_cast<Eigen::Index>(rows) - i);
    each(static_cast<std::size_t>(i), static_cast<std::size_t>(n), tensor.middleRows(i * of_row, n * of_row));
  }
}

void write_tensor(const ConstMatrixView& tensor, hdf5::Dataset dataset) {
  in_blocks(tensor, dataset.rows(), [&](std::size_t first, std::size_t rows, const auto& view) {
    const RowMajor block = view;
    dataset.write(first, rows, elements(block));
  });
}

void read_tensor(const hdf5::Dataset& dataset, MatrixView tensor) {
  RowMajor block;
  in_blocks({tensor.data(), tensor.rows(), tensor.cols()}, dataset.rows(),
            [&](std::size_t first, std::size_t rows, const auto& view) {
              block.resize(view.rows(), view.cols());
              dataset.read(first, rows, std::span<float>(block.data(), static_cast<std::size_t>(block.size())));
              tensor.middleRows(view.startRow(), view.rows()) = block;
            });
}

// Whether the bits are the same.
bool holds(const hdf5::Dataset& dataset, const ConstMatrixView& tensor) {
  bool same = true;
  RowMajor block;
  in_blocks(tensor, dataset.rows(), [&](std::size_t first, std::size_t rows, const auto& view) {
    const RowMajor expected = view;
    block.resize(view.rows(), view.cols());
    dataset.read(first, rows, std::span<float>(block.data(), static_cast<std::size_t>(block.size())));
    same = same && std::memcmp(block.data(), expected.data(), elements(block).size_bytes()) == 0;
  });
  return same;
}

// Returns the digest of it all.
std::string write_file(const Checkpoint& c, const std::string& path) {
  hdf5::File file = hdf5::File::create(path);
  const auto integer = [&](const char* name, std::uint64_t value) { file.set_integers(name, std::span(&value, 1)); };
  file.set_text("format", kFormat);
  integer("version", kVersion);
  integer("round", c.round);
  integer("seed", c.seed);
  file.set_text("git_revision", c.revision);
  file.set_text("config", c.config);
  file.set_text("task", c.schema.task == data::Task::classification ? "classification" : "regression");
  integer("classes", c.schema.classes);
  integer("targets", c.schema.targets);
  file.set_integers("feature_shape", whole(c.schema.feature_shape));
  integer("clients", c.clients);
  integer("examples", c.examples);
  file.set_text("roster", c.roster);
  file.set_text("events", c.events);
  file.set_number("exponent", c.exponent);
  file.set_text("weights_sha256", weights_digest(c.weights()));
  const std::string all = digest(c);
  file.set_text("digest", all);
  std::vector<std::string> order;
  for (std::size_t i = 0; i < c.layout.tensors().size(); ++i) {
    const Tensor& t = c.layout.tensors()[i];
    write_tensor(c.layout.view(c.weights(), i), file.create_dataset<float>(path_of(t), t.shape));
    order.push_back(t.layer + "/" + t.name);
  }
  file.set_text("tensors", fmt::format("{}", fmt::join(order, " ")), "/model");
  file.create_group("/server");
  for (const auto& [name, values] : c.server)
    write_tensor(column(values), file.create_dataset<float>("/server/" + name, {values.size()}));
  const hdf5::Handle type = row_type(metric_name(c.schema.task));
  file.create_dataset("/history", {c.history.size()}, type.get())
      .write_rows(type.get(), 0, c.history.size(), c.history.data(), c.history.size());
  file.close();
  return all;
}

// The layout, and of each tensor the dataset.
std::vector<hdf5::Dataset> read_layout(const hdf5::File& file, Layout& layout) {
  const std::string order = file.text("tensors", "/model");
  std::vector<hdf5::Dataset> datasets;
  for (std::size_t begin = 0; begin < order.size();) {
    const std::size_t end = std::min(order.find(' ', begin), order.size()), slash = order.find('/', begin);
    if (slash >= end) file.refuse("/model", "layer/tensor names", order);
    const std::string layer = order.substr(begin, slash - begin), name = order.substr(slash + 1, end - slash - 1);
    const hdf5::Dataset& dataset = datasets.emplace_back(file.dataset("/model/" + layer + "/" + name));
    if (dataset.shape().empty()) dataset.refuse("one dimension or more", "none");
    layout.add(layer, name, dataset.shape());
    begin = end + 1;
  }
  return datasets;
}

}  // namespace

std::string metric_name(data::Task task) { return task == data::Task::classification ? "accuracy" : "rmse"; }

std::string weights_digest(std::span<const float> parameters) { return Digest().add(parameters).hex(); }

namespace {

using States = std::vector<std::pair<std::string, Vector>>;

std::string digest(const Checkpoint& c, std::span<const float> weights, const States& server) {
  Digest d;
  const auto integers = [&](std::initializer_list<std::uint64_t> values) {
    d.add(std::span<const std::uint64_t>(values.begin(), values.size()));
  };
  integers({kVersion, c.round, c.seed, c.schema.classes, c.schema.targets, c.clients, c.examples,
            static_cast<std::uint64_t>(c.exponent), c.schema.task == data::Task::classification ? 0u : 1u,
            c.history.size()});
  d.add(fmt::format("{}\n{}\n{}\n{}\n{}\n", c.revision, c.config, c.roster, c.events,
                    fmt::join(c.schema.feature_shape, ",")));
  for (const Tensor& t : c.layout.tensors()) d.add(fmt::format("{} {}\n", path_of(t), fmt::join(t.shape, ",")));
  d.add(weights);
  std::map<std::string_view, std::span<const float>> states;  // by name: a file lists them in that order
  for (const auto& [name, values] : server) states.emplace(name, values);
  for (const auto& [name, values] : states) d.add(name).add(values);
  d.add(std::span<const Row>(c.history));
  return d.hex();
}

// What a file holds beside its vectors; the layout, and of each tensor the dataset.
struct Opened {
  explicit Opened(const std::string& path);
  bool has(const std::string& digest) const { return file.text("digest") == digest; }
  void expect(bool whole) const {
    if (!whole) file.refuse("/", "contents that match the digest", "others: the file is damaged");
  }

  hdf5::File file;
  Checkpoint rest;
  std::vector<hdf5::Dataset> tensors;
};

Opened::Opened(const std::string& path) : file(hdf5::File::open(path)) {
  const std::string format = file.has_attribute("format") ? file.text("format") : "none";
  if (format != kFormat) file.refuse("/", fmt::format("format '{}'", kFormat), "'" + format + "'");
  if (const auto v = file.integers("version"); v[0] != kVersion)
    file.refuse("/", fmt::format("version {}", kVersion), std::to_string(v[0]));
  Checkpoint& c = rest;
  c.round = file.integers("round")[0];
  c.seed = file.integers("seed")[0];
  c.revision = file.text("git_revision");
  c.config = file.text("config");
  c.schema.task = file.text("task") == "classification" ? data::Task::classification : data::Task::regression;
  c.schema.classes = file.integers("classes")[0];
  c.schema.targets = file.integers("targets")[0];
  const auto shape = file.integers("feature_shape");
  c.schema.feature_shape.assign(shape.begin(), shape.end());
  c.clients = file.integers("clients")[0];
  c.examples = file.integers("examples")[0];
  c.roster = file.text("roster");
  c.events = file.text("events");
  c.exponent = static_cast<int>(file.number("exponent"));
  tensors = read_layout(file, c.layout);
  const hdf5::Dataset history = file.dataset("/history");
  if (history.rows() == 0) history.refuse("a row at least", "none");
  c.history.resize(history.rows());
  history.read_compound(row_type(metric_name(c.schema.task)).get(), std::as_writable_bytes(std::span(c.history)));
}

// A crash of the library is a crash here.
Checkpoint read_unprobed(const std::string& path) {
  Opened opened(path);
  Checkpoint c = std::move(opened.rest);
  c.parameters.resize(c.layout.size());  // once: a vector that grows is there twice for a while
  for (std::size_t i = 0; i < opened.tensors.size(); ++i)
    read_tensor(opened.tensors[i], c.layout.view(std::span<float>(c.parameters), i));
  for (const std::string& name : opened.file.children("/server")) {
    const hdf5::Dataset dataset = opened.file.dataset("/server/" + name);
    Vector& values = c.server.emplace_back(name, dataset.size()).second;
    read_tensor(dataset, {values.data(), static_cast<Eigen::Index>(values.size()), 1});
  }
  opened.expect(opened.has(digest(c)));
  return c;
}

// Error(bad_data) unless the file holds this checkpoint of that digest. Block by block: rank 0 has no room for the
// model twice.
void verify(const Checkpoint& c, const std::string& all, const std::string& path) {
  const Opened opened(path);
  bool same = opened.has(all) && digest(opened.rest, c.weights(), c.server) == all;  // the layout too, then
  for (std::size_t i = 0; same && i < opened.tensors.size(); ++i)
    same = holds(opened.tensors[i], c.layout.view(c.weights(), i));
  for (const auto& [name, values] : c.server)
    same = same && holds(opened.file.dataset("/server/" + name), column(values));
  opened.expect(same);
}

}  // namespace

std::string digest(const Checkpoint& c) { return digest(c, c.weights(), c.server); }

void write(const Checkpoint& checkpoint, const std::string& path) {
  const std::string partial = path + ".partial";
  std::remove(partial.c_str());
  try {
    const std::string all = write_file(checkpoint, partial);
    sync(partial);
    verify(checkpoint, all, partial);
    if (std::rename(partial.c_str(), path.c_str()) != 0)
      fail(ExitCode::io, "{}: cannot be renamed to {}: {}", partial, path, std::strerror(errno));
  } catch (const Error& error) {
    std::remove(partial.c_str());
    // What cannot be read back was not written well: to the caller this is an output error.
    if (error.code() == ExitCode::bad_data) fail(ExitCode::io, "{}", error.what());
    throw;
  }
  const std::string directory = std::filesystem::path(path).parent_path().string();
  sync(directory.empty() ? "." : directory);
}

Checkpoint read(const std::string& path) {
  hdf5::probe(path, [](const std::string& file, std::uint64_t, std::uint64_t) { read_unprobed(file); });
  return read_unprobed(path);
}

}  // namespace fedmpi::checkpoint
