#include "federation/roster.hpp"

#include <fmt/ranges.h>

#include <algorithm>
#include <array>
#include <filesystem>
#include <memory>
#include <numeric>

#include "base/checksum.hpp"
#include "base/digest.hpp"
#include "base/error.hpp"
#include "data/shard.hpp"

namespace fedmpi::federation {

namespace {

using data::Schema;
using data::Shard;
using data::Task;
using data::Unit;

// What a shard's header says, as it travels: a flat list of whole numbers.
struct Header {
  std::uint64_t file = 0;
  Schema schema;
  bool classes_inferred = false;
  std::vector<std::uint64_t> sizes;  // examples of each client

  void append_to(std::vector<std::uint64_t>& words) const {
    words.insert(words.end(), {file, schema.task == Task::regression ? 1u : 0u, schema.classes, schema.targets,
                               classes_inferred ? 1u : 0u, schema.feature_shape.size()});
    words.insert(words.end(), schema.feature_shape.begin(), schema.feature_shape.end());
    words.push_back(sizes.size());
    words.insert(words.end(), sizes.begin(), sizes.end());
  }
  static Header take_from(const std::uint64_t*& at) {
    Header h;
    h.file = *at++;
    h.schema.task = *at++ == 1 ? Task::regression : Task::classification;
    h.schema.classes = *at++;
    h.schema.targets = *at++;
    h.classes_inferred = *at++ == 1;
    const std::uint64_t dimensions = *at++;
    h.schema.feature_shape.assign(at, at + dimensions);
    at += dimensions;
    const std::uint64_t clients = *at++;
    h.sizes.assign(at, at + clients);
    at += clients;
    return h;
  }
};

std::string text_of(const Schema& s) {
  return fmt::format("{} features {}", s.features(),
                     s.task == Task::classification ? fmt::format("and {} classes", s.classes)
                                                    : fmt::format("and {} regression targets", s.targets));
}

Header header_of(const Shard& shard, std::uint64_t file) {
  Header h{file, shard.schema(), shard.classes_inferred(), {}};
  for (std::size_t c = 0; c < shard.clients(); ++c) h.sizes.push_back(shard.offsets()[c + 1] - shard.offsets()[c]);
  return h;
}

// The schema that all shards share, or an error that names every shard that differs from the first.
Schema common_schema(std::vector<Header>& headers, const std::vector<std::string>& files) {
  std::size_t classes = 0;
  for (const Header& h : headers) classes = std::max(classes, h.schema.classes);
  for (Header& h : headers)
    if (h.classes_inferred) h.schema.classes = classes;
  std::vector<std::string> offenders;
  const Schema& first = headers.front().schema;
  for (const Header& h : headers) {
    const Schema& s = h.schema;
    if (s.task != first.task || s.features() != first.features() || s.classes != first.classes ||
        s.targets != first.targets)
      offenders.push_back(
          fmt::format("{}: expected {} as in {}, found {}", files[h.file], text_of(first), files[0], text_of(s)));
  }
  if (!offenders.empty()) fail(ExitCode::bad_data, "{}", fmt::join(offenders, "\n"));
  return first;
}

void broadcast_list(mpi::Communicator& comm, std::vector<std::uint64_t>& words) {
  std::uint64_t n = words.size();
  comm.broadcast_struct(n);
  words.resize(n);
  comm.broadcast(std::span(words));
}

// Rank 0 looks for the files once, so that all ranks speak of the same list.
std::vector<std::string> agree_on_files(mpi::Communicator& comm, const std::string& pattern) {
  std::vector<std::string> files;
  mpi::collectively(comm, [&] {
    if (comm.is_root()) files = data::shard_files(pattern);
  });
  std::string joined = fmt::format("{}\n", fmt::join(files, "\n"));
  comm.broadcast(joined);
  files.clear();
  for (std::size_t begin = 0, end; (end = joined.find('\n', begin)) != std::string::npos; begin = end + 1)
    files.push_back(joined.substr(begin, end - begin));
  return files;
}

// The participant that reads each file's header. Where there are enough files it is the one that will host the file,
// placed by the file's bytes before anyone opens it: no participant ever opens a shard that is not its own.
std::vector<std::uint64_t> assign_files(mpi::Communicator& comm, const std::vector<std::string>& files) {
  const std::size_t parts = static_cast<std::size_t>(participants(comm));
  std::vector<std::uint64_t> owners(files.size());
  std::iota(owners.begin(), owners.end(), std::uint64_t{0});
  if (files.size() >= parts && comm.is_root()) {
    std::vector<std::vector<std::uint64_t>> bytes;
    for (const std::string& file : files) {
      std::error_code missing;  // whoever opens it will say so
      const std::uintmax_t size = std::filesystem::file_size(file, missing);
      bytes.push_back({missing ? 0 : size});
    }
    for (const Unit& u : data::place(bytes, parts)) owners[u.file] = u.participant;
  }
  comm.broadcast(std::span(owners));
  return owners;
}

// Rank 0 receives every file's header.
std::vector<Header> gather_headers(mpi::Communicator& comm, const std::vector<std::string>& files,
                                   const std::vector<std::uint64_t>& owners) {
  std::vector<std::uint64_t> words;
  mpi::collectively(comm, [&] {
    const int me = participant_index(comm);
    std::vector<std::string> problems;
    for (std::size_t f = 0; f < files.size() && me >= 0; ++f) {
      if (static_cast<int>(owners[f]) != me) continue;
      try {
        header_of(*Shard::open(files[f]), f).append_to(words);
      } catch (const Error& error) {
        problems.emplace_back(error.what());
      }
    }
    if (!problems.empty()) fail(ExitCode::bad_data, "{}", fmt::join(problems, "\n"));
  });
  const std::vector<std::uint64_t> all = comm.gather(std::span<const std::uint64_t>(words));
  std::vector<Header> headers;
  for (const std::uint64_t* at = all.data(); at != all.data() + all.size();) headers.push_back(Header::take_from(at));
  std::sort(headers.begin(), headers.end(), [](const Header& a, const Header& b) { return a.file < b.file; });
  return headers;
}

// Rank 0 settles schema and placement; all ranks receive them.
void place_clients(mpi::Communicator& comm, Roster& roster, std::vector<Header> headers,
                   const std::vector<std::uint64_t>& owners) {
  std::vector<std::uint64_t> words;
  mpi::collectively(comm, [&] {
    if (!comm.is_root()) return;
    Header common;
    common.schema = common_schema(headers, roster.files);
    common.append_to(words);
    std::vector<std::vector<std::uint64_t>> sizes;
    std::uint64_t clients = 0;
    for (Header& h : headers) {
      words.push_back(clients);
      clients += h.sizes.size();
      sizes.push_back(std::move(h.sizes));
    }
    const std::size_t parts = static_cast<std::size_t>(participants(comm));
    std::vector<Unit> units = data::place(sizes, parts);
    if (sizes.size() >= parts)
      for (Unit& u : units) u.participant = owners[u.file];
    words.push_back(clients);
    for (const Unit& u : units)
      words.insert(words.end(), {u.file, u.first_client, u.clients, u.examples, u.participant});
  });
  broadcast_list(comm, words);
  const std::uint64_t *at = words.data(), *end = at + words.size();
  roster.schema = Header::take_from(at).schema;
  roster.first_client.assign(at, at + roster.files.size());
  at += roster.files.size();
  roster.clients = *at++;
  for (; at != end; at += 5) roster.units.push_back({at[0], at[1], at[2], at[3], at[4]});
}

void load_my_clients(mpi::Communicator& comm, Roster& roster, bool skip_bad) {
  mpi::collectively(comm, [&] {
    std::vector<data::Block> blocks;
    std::unique_ptr<Shard> shard;
    for (const Unit& u : roster.units) {
      if (static_cast<int>(u.participant) != participant_index(comm)) continue;
      if (!shard || shard->path() != roster.files[u.file]) shard = Shard::open(roster.files[u.file]);
      blocks.push_back(shard->read_clients(u.first_client, u.clients, roster.schema.classes, skip_bad));
      blocks.back().first_client = roster.first_client[u.file] + u.first_client;
    }
    roster.mine = data::Dataset(std::move(blocks));
  });
}

// Rank 0 learns how many examples each client has, after bad rows were dropped, and one checksum of all data: a sum
// over the clients, so that it does not depend on who hosts whom and says nothing about any one of them.
void survey(mpi::Communicator& comm, Roster& roster) {
  std::vector<std::uint64_t> words;  // of each block: first client, clients, and the size of each
  std::uint64_t sum = 0;
  for (const data::Block& b : roster.mine.blocks()) {
    words.insert(words.end(), {b.first_client, b.offsets.size() - 1});
    for (std::size_t i = 0; i + 1 < b.offsets.size(); ++i) {
      words.push_back(b.offsets[i + 1] - b.offsets[i]);
      const std::array<std::uint64_t, 2> of_client = {b.first_client + i, b.checksum_of(b.offsets[i], words.back())};
      sum += checksum(std::as_bytes(std::span(of_client)));
    }
    roster.dropped += b.dropped;
  }
  const std::vector<std::uint64_t> all = comm.gather(std::span<const std::uint64_t>(words));
  roster.sizes.resize(comm.is_root() ? roster.clients : 0);
  for (const std::uint64_t *at = all.data(), *end = at + all.size(); at != end;) {
    const std::uint64_t first = *at++, n = *at++;
    for (std::uint64_t i = 0; i < n; ++i) roster.sizes[first + i] = static_cast<std::uint32_t>(*at++);
  }
  comm.all_sum(std::span(&sum, 1));
  roster.examples = std::accumulate(roster.sizes.begin(), roster.sizes.end(), std::uint64_t{0});
  roster.digest = Digest()
                      .add(text_of(roster.schema))
                      .add(std::span<const std::uint32_t>(roster.sizes))
                      .add(std::span<const std::uint64_t>(&sum, 1))
                      .hex();
  comm.broadcast_struct(roster.examples);
  comm.all_sum(std::span(&roster.dropped, 1));
}

// Each participant's share is a run of whole evaluation blocks.
void load_my_test_rows(mpi::Communicator& comm, Roster& roster, const std::string& path, bool skip_bad) {
  mpi::collectively(comm, [&] {
    const int me = participant_index(comm);
    if (path.empty() || me < 0) return;
    const auto shard = Shard::open(path);
    const Schema& found = shard->schema();
    const bool classes_fit =
        shard->classes_inferred() ? found.classes <= roster.schema.classes : found.classes == roster.schema.classes;
    if (found.task != roster.schema.task || found.features() != roster.schema.features() ||
        found.targets != roster.schema.targets || !classes_fit)
      fail(ExitCode::bad_data, "{}: expected {} as in {}, found {}", path, text_of(roster.schema), roster.files[0],
           text_of(found));
    const std::size_t blocks = (shard->rows() + kEvaluationRows - 1) / kEvaluationRows;
    const std::size_t parts = static_cast<std::size_t>(participants(comm)), part = static_cast<std::size_t>(me);
    const std::size_t end = std::min(shard->rows(), blocks * (part + 1) / parts * kEvaluationRows);
    // Blocks are runs of rows of the file, also where bad rows are left out: the same for any number of ranks.
    std::vector<std::uint64_t> boundaries;
    for (std::size_t row = blocks * part / parts * kEvaluationRows; row < end; row += kEvaluationRows)
      boundaries.push_back(row);
    boundaries.push_back(end);
    roster.test = shard->read(boundaries, roster.schema.classes, skip_bad);
  });
  roster.test_rows = roster.test.rows;
  comm.all_sum(std::span(&roster.test_rows, 1));
}

}  // namespace

int participants(const mpi::Communicator& comm) { return comm.size() == 1 ? 1 : comm.size() - 1; }

int participant_index(const mpi::Communicator& comm) { return comm.size() == 1 ? 0 : comm.rank() - 1; }

void Roster::check_none_idle(int participants) const {
  std::vector<bool> busy(static_cast<std::size_t>(participants), false);
  for (const Unit& u : units) busy[u.participant] = true;
  std::vector<std::size_t> idle;
  for (std::size_t p = 0; p < busy.size(); ++p)
    if (!busy[p]) idle.push_back(p + 1);
  if (!idle.empty())
    fail(ExitCode::usage,
         "expected at least one client per participant, found {} for {} participants: idle would be rank {}", clients,
         participants, fmt::join(idle, ", "));
}

std::string Roster::describe(data::ClientId id) const {
  const auto after = std::upper_bound(first_client.begin(), first_client.end(), id);
  const std::size_t file = static_cast<std::size_t>(after - first_client.begin()) - 1;
  return fmt::format("client '{}' of {}", Shard::open(files[file])->client_name(id - first_client[file]), files[file]);
}

Roster assemble(mpi::Communicator& comm, const std::string& shards, const std::string& test, bool skip_bad) {
  Roster roster;
  roster.files = agree_on_files(comm, shards);
  const std::vector<std::uint64_t> owners = assign_files(comm, roster.files);
  place_clients(comm, roster, gather_headers(comm, roster.files, owners), owners);
  load_my_clients(comm, roster, skip_bad);
  survey(comm, roster);
  load_my_test_rows(comm, roster, test, skip_bad);
  return roster;
}

}  // namespace fedmpi::federation
