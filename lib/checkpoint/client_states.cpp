#include "checkpoint/client_states.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <charconv>
#include <cstring>
#include <filesystem>
#include <optional>
#include <string_view>
#include <utility>
#include <vector>

#include "base/error.hpp"
#include "checkpoint/checkpoint.hpp"
#include "hdf5/file.hpp"
#include "hdf5/probe.hpp"

namespace fedmpi::checkpoint {

namespace fs = std::filesystem;

namespace {

constexpr const char* kFormat = "fedmpi-client-states";
constexpr std::string_view kFolder = "clients-", kEnd = ".h5";

std::string folder_of(const std::string& directory, std::uint64_t round) {
  return fmt::format("{}/{}{:06}", directory, kFolder, round);
}

std::optional<std::uint64_t> number(std::string_view digits) {
  std::uint64_t value = 0;
  const auto [end, error] = std::from_chars(digits.data(), digits.data() + digits.size(), value);
  return end == digits.data() + digits.size() && error == std::errc() ? std::optional(value) : std::nullopt;
}

// The clients in the name of a file "FIRST-LAST.h5"; no other file is taken for one.
std::optional<ClientRun> run_of(const std::string& name) {
  const std::size_t dash = name.find('-');
  if (dash == std::string::npos || !name.ends_with(kEnd)) return std::nullopt;
  const auto first = number(std::string_view(name).substr(0, dash));
  const auto last = number(std::string_view(name).substr(dash + 1, name.size() - dash - 1 - kEnd.size()));
  if (!first || !last) return std::nullopt;
  return ClientRun{*first, *last + 1};
}

// A row of a dataset is what one client keeps of that tensor, in the order in which it lies in memory.
std::string dataset_of(const Tensor& t) { return "/states/" + (t.layer.empty() ? "" : t.layer + ".") + t.name; }

void write_file(const client::States& states, std::span<const data::ClientId> clients, std::uint64_t round,
                const std::string& path) {
  hdf5::File file = hdf5::File::create(path);
  file.set_text("format", kFormat);
  file.set_integers("version", std::vector<std::uint64_t>{1});
  file.set_integers("round", std::vector<std::uint64_t>{round});
  file.create_dataset<std::uint64_t>("/clients", {clients.size()}).write(0, clients.size(), clients);
  for (std::size_t i = 0; i < states.layout().tensors().size(); ++i) {
    const Tensor& t = states.layout().tensors()[i];
    hdf5::Dataset dataset = file.create_dataset<float>(dataset_of(t), {clients.size(), t.size()});
    for (std::size_t c = 0; c < clients.size(); ++c)
      dataset.write(c, 1, states.layout().part(states.of(clients[c]), i));
  }
  file.close();
}

// Calls each(client, tensor's index, values) for all that a file holds.
template <class Each>
void for_each(const std::string& path, const Layout& layout, Each each) {
  const hdf5::File file = hdf5::File::open(path);
  const std::string format = file.has_attribute("format") ? file.text("format") : "none";
  if (format != kFormat) file.refuse("/", fmt::format("format '{}'", kFormat), "'" + format + "'");
  const std::vector<std::uint64_t> clients = file.dataset("/clients").read_all<std::uint64_t>();
  std::vector<float> values;
  for (std::size_t i = 0; i < layout.tensors().size(); ++i) {
    const Tensor& t = layout.tensors()[i];
    const hdf5::Dataset dataset = file.dataset(dataset_of(t));
    if (dataset.shape() != Shape{clients.size(), t.size()})
      dataset.refuse(fmt::format("{} × {} numbers", clients.size(), t.size()),
                     fmt::format("{}", fmt::join(dataset.shape(), " × ")));
    values.resize(t.size());
    for (std::size_t c = 0; c < clients.size(); ++c) {
      dataset.read(c, 1, std::span<float>(values));
      each(clients[c], i, std::span<const float>(values));
    }
  }
}

void try_file(const std::string& path, std::uint64_t, std::uint64_t) {
  const hdf5::File file = hdf5::File::open(path);
  file.dataset("/clients").read_all<std::uint64_t>();
  for (const std::string& name : file.children("/states")) {
    const hdf5::Dataset dataset = file.dataset("/states/" + name);
    std::vector<float> row(dataset.row_size());
    for (std::size_t c = 0; c < dataset.rows(); ++c) dataset.read(c, 1, std::span<float>(row));
  }
}

}  // namespace

void write_client_states(const client::States& states, std::span<const ClientRun> runs, const std::string& directory,
                         std::uint64_t round) {
  const std::string folder = folder_of(directory, round);
  std::error_code error;
  fs::create_directories(folder, error);
  if (error) fail(ExitCode::cannot_create, "{}: cannot be created: {}", folder, error.message());
  for (const ClientRun& run : runs) {
    const std::vector<data::ClientId> clients = states.clients(run.first, run.end);
    if (clients.empty()) continue;
    const auto verify = [&](const std::string& partial) {
      std::size_t seen = 0;
      for_each(partial, states.layout(), [&](data::ClientId id, std::size_t i, std::span<const float> values) {
        const std::span<const float> expected = states.layout().part(states.of(id), i);
        if (std::memcmp(values.data(), expected.data(), values.size_bytes()) != 0)
          fail(ExitCode::io, "{}: expected what client {} keeps, found something else", partial, id);
        ++seen;
      });
      if (seen != clients.size() * states.layout().tensors().size())
        fail(ExitCode::io, "{}: expected {} clients, found others", partial, clients.size());
    };
    write_aside(
        fmt::format("{}/{:08}-{:08}{}", folder, run.first, run.end - 1, kEnd),
        [&](const std::string& partial) { write_file(states, clients, round, partial); }, verify);
  }
}

void read_client_states(client::States& states, std::span<const ClientRun> runs, const std::string& directory,
                        std::uint64_t round) {
  const std::string folder = folder_of(directory, round);
  std::vector<std::pair<std::string, ClientRun>> files;
  std::error_code error;
  for (fs::directory_iterator entry(folder, error), end; !error && entry != end; entry.increment(error))
    if (const auto run = run_of(entry->path().filename().string())) files.emplace_back(entry->path().string(), *run);
  if (error && error != std::errc::no_such_file_or_directory)
    fail(ExitCode::io, "{}: cannot be read: {}", folder, error.message());
  std::sort(files.begin(), files.end(), [](const auto& a, const auto& b) { return a.first < b.first; });
  for (const auto& [path, held] : files) {
    const auto mine = [&, run = held](data::ClientId id) {
      return run.first <= id && id < run.end &&
             std::any_of(runs.begin(), runs.end(), [&](const ClientRun& r) { return r.first <= id && id < r.end; });
    };
    const bool of_use = std::any_of(runs.begin(), runs.end(),
                                    [&](const ClientRun& r) { return r.first < held.end && held.first < r.end; });
    if (!of_use) continue;
    hdf5::probe(path, try_file);
    for_each(path, states.layout(), [&](data::ClientId id, std::size_t i, std::span<const float> values) {
      if (mine(id)) std::copy(values.begin(), values.end(), states.layout().part(states.restore(id), i).begin());
    });
  }
}

void remove_client_states(const std::string& directory, const std::function<bool(std::uint64_t)>& unwanted) {
  std::error_code ignored;
  std::vector<fs::path> folders;
  for (fs::directory_iterator entry(directory, ignored), end; !ignored && entry != end; entry.increment(ignored)) {
    const std::string name = entry->path().filename().string();
    const auto round = name.starts_with(kFolder) ? number(std::string_view(name).substr(kFolder.size())) : std::nullopt;
    if (round && unwanted(*round)) folders.push_back(entry->path());
  }
  for (const fs::path& folder : folders) fs::remove_all(folder, ignored);
}

}  // namespace fedmpi::checkpoint
