#include "checkpoint/checkpoint.hpp"

#include <fcntl.h>
#include <fmt/format.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <charconv>
#include <cstdio>
#include <cstring>
#include <filesystem>

#include "base/digest.hpp"
#include "base/error.hpp"
#include "checkpoint/table.hpp"
#include "hdf5/file.hpp"
#include "hdf5/probe.hpp"

namespace fedmpi::checkpoint {

namespace {

constexpr std::uint64_t kVersion = 3, kOldestVersion = 2;
constexpr const char* kFormat = "fedmpi-checkpoint";

void sync(const std::string& path) {
  const int fd = ::open(path.c_str(), O_RDONLY);
  const bool ok = fd >= 0 && ::fsync(fd) == 0;
  const int error = errno;
  if (fd >= 0) ::close(fd);
  if (!ok) fail(ExitCode::io, "{}: cannot be written to the disk: {}", path, std::strerror(error));
}

std::vector<std::uint64_t> whole(const Shape& shape) { return {shape.begin(), shape.end()}; }

std::string path_of(const Tensor& t) { return "/model/" + t.path(); }

using RowMajor = Eigen::Matrix<float, Eigen::Dynamic, Eigen::Dynamic, Eigen::RowMajor>;

std::span<const float> elements(const RowMajor& block) {
  return {block.data(), static_cast<std::size_t>(block.size())};
}

ConstMatrixView column(std::span<const float> values) {
  return {values.data(), static_cast<Eigen::Index>(values.size()), 1};
}

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
  bool same = dataset.size() == static_cast<std::size_t>(tensor.size());
  RowMajor block;
  in_blocks(tensor, same ? dataset.rows() : 0, [&](std::size_t first, std::size_t rows, const auto& view) {
    const RowMajor expected = view;
    block.resize(view.rows(), view.cols());
    dataset.read(first, rows, std::span<float>(block.data(), static_cast<std::size_t>(block.size())));
    same = same && std::memcmp(block.data(), expected.data(), elements(block).size_bytes()) == 0;
  });
  return same;
}

// Further vectors, in alphabetical order: a file lists them so.
std::vector<std::pair<std::string, std::span<const float>>> sorted(const Snapshot& s) {
  auto states = s.states;
  std::sort(states.begin(), states.end(), [](const auto& a, const auto& b) { return a.first < b.first; });
  return states;
}

// SHA-256 over everything in the file, each part by its name, independent of how it is stored.
class Contents {
 public:
  explicit Contents(const Facts& f) {
    const auto number = [&](const char* name, std::uint64_t value) {
      digest_.add(fmt::format("{} {}\n", name, value));
    };
    const auto text = [&](const char* name, const std::string& value) {
      digest_.add(fmt::format("{} {} bytes\n{}\n", name, value.size(), value));
    };
    number("round", f.round);
    number("seed", f.seed);
    number("classes", f.schema.classes);
    number("targets", f.schema.targets);
    number("clients", f.clients);
    number("examples", f.examples);
    number("client_states", f.client_states.clients);
    number("client_states_checksum", f.client_states.checksum);
    text("exponents", fmt::format("{}", fmt::join(f.exponents, " ")));
    text("task", f.schema.task == data::Task::classification ? "classification" : "regression");
    text("feature_shape", fmt::format("{}", fmt::join(f.schema.feature_shape, " ")));
    text("columns", fmt::format("{}", fmt::join(f.schema.columns, "\n")));
    text("label_names", fmt::format("{}", fmt::join(f.schema.label_names, "\n")));
    text("git_revision", f.revision);
    text("config", f.config);
    text("roster", f.roster);
    text("frozen", f.frozen);
    text("events", f.events);
    for (const Tensor& t : f.layout.tensors()) text("tensor", fmt::format("{} {}", t.path(), fmt::join(t.shape, " ")));
  }
  Contents& add(const std::string& name, std::span<const float> values) {
    digest_.add(name + "\n").add(values);
    return *this;
  }
  Digest& digest() { return digest_; }
  std::string hex() { return digest_.hex(); }

 private:
  Digest digest_;
};

// As version 2 had it: the table's bytes as they are.
std::string digest_of_version_2(const Checkpoint& c, const Table& table) {
  Digest d;
  const std::initializer_list<std::uint64_t> integers = {2,
                                                         c.round,
                                                         c.seed,
                                                         c.schema.classes,
                                                         c.schema.targets,
                                                         c.clients,
                                                         c.examples,
                                                         static_cast<std::uint64_t>(c.exponents.at(0)),
                                                         c.schema.task == data::Task::classification ? 0u : 1u,
                                                         c.history.size()};
  d.add(std::span<const std::uint64_t>(integers.begin(), integers.size()));
  d.add(fmt::format("{}\n{}\n{}\n{}\n{}\n", c.revision, c.config, c.roster, c.events,
                    fmt::join(c.schema.feature_shape, ",")));
  for (const Tensor& t : c.layout.tensors()) d.add(fmt::format("{} {}\n", path_of(t), fmt::join(t.shape, ",")));
  d.add(std::span<const float>(c.parameters));
  for (const auto& [name, values] : c.states)
    d.add(name.substr(name.find('/') + 1)).add(std::span<const float>(values));
  return d.add(table.bytes()).hex();
}

void write_names(hdf5::File& file, const std::string& path, std::span<const std::string> names) {
  if (!names.empty()) file.write_strings(path, names);
}

void write_file(const Snapshot& s, const std::string& digest, const std::string& path) {
  const Facts& f = s.facts;
  hdf5::File file = hdf5::File::create(path);
  const auto integer = [&](const char* name, std::uint64_t value) { file.set_integers(name, std::span(&value, 1)); };
  file.set_text("format", kFormat);
  integer("version", kVersion);
  integer("round", f.round);
  integer("seed", f.seed);
  file.set_text("git_revision", f.revision);
  file.set_text("config", f.config);
  file.set_text("task", f.schema.task == data::Task::classification ? "classification" : "regression");
  integer("classes", f.schema.classes);
  integer("targets", f.schema.targets);
  file.set_integers("feature_shape", whole(f.schema.feature_shape));
  integer("clients", f.clients);
  integer("examples", f.examples);
  file.set_text("roster", f.roster);
  file.set_text("frozen_sha256", f.frozen);
  file.set_text("events", f.events);
  file.set_text("exponents", fmt::format("{}", fmt::join(f.exponents, " ")));
  integer("client_states", f.client_states.clients);
  integer("client_states_checksum", f.client_states.checksum);
  file.set_text("weights_sha256", weights_digest(s.parameters));
  file.set_text("digest", digest);
  write_names(file, "/columns", f.schema.columns);
  write_names(file, "/label_names", f.schema.label_names);
  std::vector<std::string> order;
  for (std::size_t i = 0; i < f.layout.tensors().size(); ++i) {
    const Tensor& t = f.layout.tensors()[i];
    write_tensor(f.layout.view(s.parameters, i), file.create_dataset<float>(path_of(t), t.shape));
    order.push_back(t.path());
  }
  file.set_text("tensors", fmt::format("{}", fmt::join(order, " ")), "/model");
  file.create_group("/server");
  file.create_group("/algorithm");
  for (const auto& [name, values] : s.states)
    write_tensor(column(values), file.create_dataset<float>("/" + name, {values.size()}));
  write_table(file, "/history", f.history, metric_name(f.schema.task));
  file.close();
}

// What a file holds beside its vectors.
struct Opened {
  explicit Opened(const std::string& path);
  void expect(bool whole) const {
    if (!whole) file.refuse("/", "contents that match the digest", "others: the file is damaged");
  }
  std::vector<std::string> states() const;  // "server/velocity", in alphabetical order
  std::vector<std::string> names(const std::string& path) const;

  hdf5::File file;
  std::uint64_t version = 0;
  Facts facts;
  std::vector<hdf5::Dataset> tensors;  // of the layout
  std::optional<Table> table;

 private:
  void read_layout();
  void read_exponents();
};

Opened::Opened(const std::string& path) : file(hdf5::File::open(path)) {
  const std::string format = file.has_attribute("format") ? file.text("format") : "none";
  if (format != kFormat) file.refuse("/", fmt::format("format '{}'", kFormat), "'" + format + "'");
  version = file.integers("version")[0];
  if (version < kOldestVersion || version > kVersion)
    file.refuse("/", fmt::format("version {} to {}", kOldestVersion, kVersion), std::to_string(version));
  facts.round = file.integers("round")[0];
  facts.seed = file.integers("seed")[0];
  facts.revision = file.text("git_revision");
  facts.config = file.text("config");
  facts.schema.task = file.text("task") == "classification" ? data::Task::classification : data::Task::regression;
  facts.schema.classes = file.integers("classes")[0];
  facts.schema.targets = file.integers("targets")[0];
  const auto shape = file.integers("feature_shape");
  facts.schema.feature_shape.assign(shape.begin(), shape.end());
  facts.schema.columns = names("/columns");
  facts.schema.label_names = names("/label_names");
  facts.clients = file.integers("clients")[0];
  facts.examples = file.integers("examples")[0];
  facts.roster = file.text("roster");
  facts.events = file.text("events");
  read_exponents();
  if (version >= 3) facts.frozen = file.text("frozen_sha256");
  if (version >= 3)
    facts.client_states = {file.integers("client_states")[0], file.integers("client_states_checksum")[0]};
  read_layout();
  const hdf5::Dataset history = file.dataset("/history");
  if (history.rows() == 0) history.refuse("a row at least", "none");
  facts.history = table.emplace(history).rows(metric_name(facts.schema.task));
}

std::vector<std::string> Opened::names(const std::string& path) const {
  if (!file.has(path)) return {};
  const hdf5::Dataset dataset = file.dataset(path);
  return dataset.read_strings(0, dataset.rows());
}

void Opened::read_exponents() {
  const auto refuse = [&](const std::string& found) { file.refuse("/", "exponents from -300 to 300", found); };
  const auto add = [&](int exponent) {
    if (std::abs(exponent) > 300) refuse(std::to_string(exponent));
    facts.exponents.push_back(exponent);
  };
  if (version == 2) {
    const double exponent = file.number("exponent");
    if (!(std::abs(exponent) <= 300)) refuse(fmt::format("{}", exponent));
    return add(static_cast<int>(exponent));
  }
  const std::string text = file.text("exponents");
  for (const char *at = text.data(), *end = at + text.size(); at < end; ++at) {
    int exponent = 0;
    const auto [next, error] = std::from_chars(at, end, exponent);
    if (error != std::errc() || (next != end && *next != ' ')) refuse("'" + text + "'");
    add(exponent);
    at = next;
  }
}

void Opened::read_layout() {
  const std::string order = file.text("tensors", "/model");
  for (std::size_t begin = 0; begin < order.size();) {
    const std::size_t end = std::min(order.find(' ', begin), order.size()), slash = order.rfind('/', end);
    if (slash == std::string::npos || slash < begin) file.refuse("/model", "layer/tensor names", order);
    const std::string layer = order.substr(begin, slash - begin), name = order.substr(slash + 1, end - slash - 1);
    const hdf5::Dataset& dataset = tensors.emplace_back(file.dataset("/model/" + layer + "/" + name));
    if (dataset.shape().empty()) dataset.refuse("one dimension or more", "none");
    facts.layout.add(layer, name, dataset.shape());
    begin = end + 1;
  }
}

std::vector<std::string> Opened::states() const {
  std::vector<std::string> all;
  for (const std::string group : {"algorithm", "server"})
    if (version >= 3 || group == "server")
      for (const std::string& name : file.children("/" + group)) all.push_back(group + "/" + name);
  return all;
}

// A crash of the library is a crash here.
Checkpoint read_unprobed(const std::string& path) {
  Opened opened(path);
  Checkpoint c{std::move(opened.facts), {}, {}};
  c.parameters.resize(c.layout.size());  // once: a vector that grows is there twice for a while
  for (std::size_t i = 0; i < opened.tensors.size(); ++i)
    read_tensor(opened.tensors[i], c.layout.view(std::span<float>(c.parameters), i));
  for (const std::string& name : opened.states()) {
    const hdf5::Dataset dataset = opened.file.dataset("/" + name);
    Vector& values = c.states.emplace_back(name, dataset.size()).second;
    read_tensor(dataset, {values.data(), static_cast<Eigen::Index>(values.size()), 1});
  }
  if (opened.version == 2) {
    opened.expect(opened.file.text("digest") == digest_of_version_2(c, *opened.table));
    return c;
  }
  Contents contents(c);
  contents.add("model", c.parameters);
  for (const auto& [name, values] : c.states) contents.add(name, values);
  opened.table->add_to(contents.digest());
  opened.expect(opened.file.text("digest") == contents.hex());
  return c;
}

// Error(bad_data) unless the file holds this snapshot of that digest. Block by block: rank 0 has no room for the
// model twice.
void verify(const Snapshot& s, const std::string& digest, const std::string& path) {
  const Opened opened(path);
  const Snapshot read{opened.facts, s.parameters, s.states};
  bool same = opened.file.text("digest") == digest && checkpoint::digest(read) == digest;  // the layout too, then
  for (std::size_t i = 0; same && i < opened.tensors.size(); ++i)
    same = holds(opened.tensors[i], opened.facts.layout.view(s.parameters, i));
  for (const auto& [name, values] : s.states) same = same && holds(opened.file.dataset("/" + name), column(values));
  opened.expect(same);
}

}  // namespace

Snapshot snapshot_of(const Checkpoint& checkpoint) {
  Snapshot snapshot{checkpoint, checkpoint.parameters, {}};
  for (const auto& [name, values] : checkpoint.states) snapshot.states.emplace_back(name, values);
  return snapshot;
}

std::string digest(const Snapshot& s) {
  Contents contents(s.facts);
  contents.add("model", s.parameters);
  for (const auto& [name, values] : sorted(s)) contents.add(name, values);
  add_to(contents.digest(), s.facts.history, metric_name(s.facts.schema.task));
  return contents.hex();
}

std::string metric_name(data::Task task) { return task == data::Task::classification ? "accuracy" : "rmse"; }

std::string weights_digest(std::span<const float> parameters) { return Digest().add(parameters).hex(); }

void write_aside(const std::string& path, const std::function<void(const std::string&)>& write_to,
                 const std::function<void(const std::string&)>& verify_written) {
  const std::string partial = path + ".partial";
  std::remove(partial.c_str());
  try {
    write_to(partial);
    sync(partial);
    verify_written(partial);
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

void write(const Snapshot& snapshot, const std::string& path) {
  const std::string all = digest(snapshot);
  write_aside(
      path, [&](const std::string& partial) { write_file(snapshot, all, partial); },
      [&](const std::string& partial) { verify(snapshot, all, partial); });
}

Checkpoint read(const std::string& path) {
  hdf5::probe(path, [](const std::string& file, std::uint64_t, std::uint64_t) { read_unprobed(file); });
  return read_unprobed(path);
}

}  // namespace fedmpi::checkpoint
