#include "federation/roster.hpp"

#include <fmt/ranges.h>

#include <algorithm>
#include <array>
#include <cmath>
#include <filesystem>
#include <map>
#include <memory>
#include <new>
#include <numeric>

#include "base/checksum.hpp"
#include "base/digest.hpp"
#include "base/error.hpp"
#include "data/shard.hpp"
#include "federation/memory.hpp"

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
  std::uint64_t files = 0;           // that hold all the clients; 0: it does not say
  std::uint64_t row_bytes = 0;       // of an example in memory
  std::vector<std::uint64_t> sizes;  // examples of each client

  void append_to(std::vector<std::uint64_t>& words) const {
    words.insert(words.end(), {file, schema.task == Task::regression ? 1u : 0u, schema.classes, schema.targets,
                               classes_inferred ? 1u : 0u, files, schema.feature_shape.size()});
    words.insert(words.end(), schema.feature_shape.begin(), schema.feature_shape.end());
    words.insert(words.end(), {row_bytes, sizes.size()});
    words.insert(words.end(), sizes.begin(), sizes.end());
  }
  static Header take_from(const std::uint64_t*& at) {
    Header h;
    h.file = *at++;
    h.schema.task = *at++ == 1 ? Task::regression : Task::classification;
    h.schema.classes = *at++;
    h.schema.targets = *at++;
    h.classes_inferred = *at++ == 1;
    h.files = *at++;
    const std::uint64_t dimensions = *at++;
    h.schema.feature_shape.assign(at, at + dimensions);
    at += dimensions;
    h.row_bytes = *at++;
    const std::uint64_t clients = *at++;
    h.sizes.assign(at, at + clients);
    at += clients;
    return h;
  }
};

Header header_of(const Shard& shard, std::uint64_t file) {
  const Schema& s = shard.schema();
  const std::size_t label = s.task == Task::classification ? sizeof(std::int32_t) : s.targets * sizeof(float);
  Header h{file, s, shard.classes_inferred(), shard.files(), s.row_bytes() + label, {}};
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
    if (!s.matches(first) || s.classes != first.classes)
      offenders.push_back(
          fmt::format("{}: expected {} as in {}, found {}", files[h.file], first.text(), files[0], s.text()));
  }
  if (!offenders.empty()) fail(ExitCode::bad_data, "{}", fmt::join(offenders, "\n"));
  return first;
}

// A directory that holds fewer shards than were made, as those that are there say.
void refuse_missing(const std::vector<Header>& headers, const std::string& directory) {
  std::uint64_t files = 0;
  for (const Header& h : headers) files = std::max(files, h.files);
  if (std::filesystem::is_directory(directory) && headers.size() < files)
    fail(ExitCode::bad_data, "data.shards: expected {} shards in {}, found {}; a pattern takes the files as they are",
         files, directory, headers.size());
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
                                   const std::vector<std::uint64_t>& owners, const std::string& shards) {
  std::vector<std::uint64_t> words;
  mpi::collectively(comm, [&] {
    const int me = participant_index(comm);
    std::vector<std::string> problems;
    ExitCode code = ExitCode::bad_data;
    for (std::size_t f = 0; f < files.size() && me >= 0; ++f) {
      if (static_cast<int>(owners[f]) != me) continue;
      try {
        header_of(*Shard::open(files[f]), f).append_to(words);
      } catch (const Error& error) {
        problems.emplace_back(error.what());
        if (error.code() != ExitCode::bad_data) code = error.code();  // says nothing about the file
      }
    }
    if (!problems.empty()) fail(code, "{}", fmt::join(problems, "\n"));
  });
  const std::vector<std::uint64_t> all = comm.gather(std::span<const std::uint64_t>(words));
  std::vector<Header> headers;
  for (const std::uint64_t* at = all.data(); at != all.data() + all.size();) headers.push_back(Header::take_from(at));
  std::sort(headers.begin(), headers.end(), [](const Header& a, const Header& b) { return a.file < b.file; });
  mpi::collectively(comm, [&] { refuse_missing(headers, shards); });
  return headers;
}

// Rank 0 settles schema and placement; all ranks receive them, and find out whether their examples fit into memory.
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
      words.insert(words.end(), {clients, h.row_bytes});
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
  std::vector<std::uint64_t> row_bytes;
  for (std::size_t f = 0; f < roster.files.size(); ++f) {
    roster.first_client.push_back(*at++);
    row_bytes.push_back(*at++);
  }
  roster.clients = *at++;
  for (; at != end; at += 5) roster.units.push_back({at[0], at[1], at[2], at[3], at[4]});
  std::uint64_t bytes = 0;
  for (const Unit& u : roster.units)
    if (static_cast<int>(u.participant) == participant_index(comm)) bytes += u.examples * row_bytes[u.file];
  if (roster.budget.bytes > 0) bytes = std::min<std::uint64_t>(bytes, roster.budget.bytes);
  check_memory(comm, bytes, "the examples");
}

data::Part part_of(const Roster& roster, const Unit& u) {
  return {roster.files[u.file], u.first_client, u.clients, u.examples, roster.first_client[u.file] + u.first_client};
}

void load_my_clients(mpi::Communicator& comm, Roster& roster) {
  mpi::collectively(comm, [&] {
    std::vector<data::Part> parts;
    for (const Unit& u : roster.units)
      if (static_cast<int>(u.participant) == participant_index(comm)) parts.push_back(part_of(roster, u));
    roster.mine = data::load(parts, roster.schema, roster.skip_bad, roster.budget);
  });
}

// Of each unit, of what is here of its clients: a sum over these, so that it does not depend on who hosts whom. Each
// block is of one unit.
std::vector<std::uint64_t> checksums_of(const Roster& roster, const data::Dataset& clients) {
  std::vector<std::uint64_t> sums(roster.units.size());
  for (const data::Block& b : clients.blocks()) {
    const auto after = std::ranges::upper_bound(
        roster.units, b.first_client, {}, [&](const Unit& u) { return roster.first_client[u.file] + u.first_client; });
    for (std::size_t i = 0; i < b.runs(); ++i) {
      const std::array<std::uint64_t, 2> of_client = {b.first_client + i, b.checksum_of_run(i)};
      sums[static_cast<std::size_t>(after - roster.units.begin()) - 1] += checksum(std::as_bytes(std::span(of_client)));
    }
  }
  return sums;
}

// Rank 0 learns how many examples each client has, after bad rows were dropped, and one checksum of all data, which
// says nothing about any one client. With `survive` all ranks learn it of each unit.
void survey(mpi::Communicator& comm, Roster& roster, bool survive) {
  std::vector<std::uint64_t> words;  // of each block: first client, clients, and the size of each
  for (const data::Block& b : roster.mine.blocks()) {
    words.insert(words.end(), {b.first_client, b.runs()});
    for (std::size_t i = 0; i < b.runs(); ++i) words.push_back(b.offsets[i + 1] - b.offsets[i]);
    roster.dropped += b.dropped;
  }
  std::vector<std::uint64_t> sums = checksums_of(roster, roster.mine);
  if (survive) {
    comm.all_sum(std::span(sums));
    roster.checksums = sums;
  }
  std::uint64_t sum = std::accumulate(sums.begin(), sums.end(), std::uint64_t{0});
  if (!survive) comm.all_sum(std::span(&sum, 1));
  const std::vector<std::uint64_t> all = comm.gather(std::span<const std::uint64_t>(words));
  roster.sizes.resize(comm.is_root() ? roster.clients : 0);
  for (const std::uint64_t *at = all.data(), *end = at + all.size(); at != end;) {
    const std::uint64_t first = *at++, n = *at++;
    for (std::uint64_t i = 0; i < n; ++i) roster.sizes[first + i] = static_cast<std::uint32_t>(*at++);
  }
  roster.examples = std::accumulate(roster.sizes.begin(), roster.sizes.end(), std::uint64_t{0});
  roster.digest = Digest()
                      .add(roster.schema.text())
                      .add(std::span<const std::uint32_t>(roster.sizes))
                      .add(std::span<const std::uint64_t>(&sum, 1))
                      .hex();
  comm.broadcast_struct(roster.examples);
  comm.all_sum(std::span(&roster.dropped, 1));
}

// Where bad rows are left out.
void refuse_none_good(std::uint64_t examples, const char* option, const std::string& where) {
  if (examples == 0)
    fail(ExitCode::bad_data, "{}: expected an example that is not bad in {}, found none", option, where);
}

// Rank 0's share of the test rows. Training an example takes its participant three times as long as evaluating one.
double share_of_root(const mpi::Communicator& comm, double training_time, std::size_t test_rows) {
  if (comm.size() == 1) return 1.0;
  const double p = participants(comm);
  const double idle = 3.0 * training_time, work = static_cast<double>(std::max<std::size_t>(1, test_rows));
  return std::clamp(idle / work, 1.0 / (p + 1.0), 1.0);
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

std::string Roster::clients_of(std::uint64_t participant) const {
  std::map<std::size_t, std::vector<std::string>> runs;  // by file
  for (const Unit& u : units)
    if (u.participant == participant)
      runs[u.file].push_back(u.clients == 1
                                 ? fmt::format("client {}", u.first_client)
                                 : fmt::format("clients {} to {}", u.first_client, u.first_client + u.clients - 1));
  std::vector<std::string> texts;
  for (const auto& [file, of_file] : runs)
    texts.push_back(fmt::format("{} of {}", fmt::join(of_file, ", "), files[file]));
  return fmt::format("{}", fmt::join(texts, "; "));
}

std::uint64_t Roster::take_over(std::span<const std::uint64_t> lost, std::span<const std::uint64_t> left, int me) {
  std::uint64_t out_of_reach = 0;
  std::size_t next = 0;
  for (std::size_t i = 0; i < units.size(); ++i) {
    Unit& u = units[i];
    if (std::find(lost.begin(), lost.end(), u.participant) == lost.end()) continue;
    u.participant = left[next++ % left.size()];
    if (static_cast<int>(u.participant) != me) continue;
    bool reached = false;
    try {
      const data::Part part = part_of(*this, u);
      data::Dataset theirs = data::load(std::span(&part, 1), schema, skip_bad, budget);
      reached = checksums_of(*this, theirs)[i] == checksums[i];
      if (reached) mine.add(std::move(theirs));
    } catch (const Error&) {           // a file of the other's own, or another by now
    } catch (const std::bad_alloc&) {  // or more than there is room for here
    }
    if (!reached) out_of_reach += u.clients;  // the run says so
  }
  return out_of_reach;
}

Roster assemble(mpi::Communicator& comm, const std::string& shards, bool skip_bad, data::Budget budget, bool survive) {
  Roster roster;
  roster.skip_bad = skip_bad;
  roster.budget = budget;
  roster.files = agree_on_files(comm, shards);
  const std::vector<std::uint64_t> owners = assign_files(comm, roster.files);
  place_clients(comm, roster, gather_headers(comm, roster.files, owners, shards), owners);
  load_my_clients(comm, roster);
  survey(comm, roster, survive);
  mpi::collectively(comm, [&] { refuse_none_good(roster.examples, "data.shards", shards); });
  return roster;
}

void load_test(mpi::Communicator& comm, Roster& roster, const std::string& path, bool skip_bad, double training_time) {
  std::unique_ptr<Shard> shard;
  std::uint64_t rows = 0, rows_of_root = 0;
  std::size_t begin = 0, end = 0;
  mpi::collectively(comm, [&] {
    if (path.empty()) return;
    shard = Shard::open(path);
    rows = rows_of_root = shard->rows();
    const Schema& found = shard->schema();
    const bool classes_fit =
        shard->classes_inferred() ? found.classes <= roster.schema.classes : found.classes == roster.schema.classes;
    if (!found.matches(roster.schema) || !classes_fit)
      fail(ExitCode::bad_data, "{}: expected {} as in {}, found {}", path, roster.schema.text(), roster.files[0],
           found.text());
    const std::size_t blocks = (shard->rows() + kEvaluationRows - 1) / kEvaluationRows;
    const double of_root = share_of_root(comm, training_time, shard->rows());
    // The blocks before this rank's part, as a share of all.
    const auto before = [&](int rank) {
      const double share = rank == 0 ? 0.0 : of_root + (1.0 - of_root) * (rank - 1) / participants(comm);
      return static_cast<std::size_t>(std::lround(share * static_cast<double>(blocks)));
    };
    end = std::min(shard->rows(), before(comm.rank() + 1) * kEvaluationRows);
    begin = std::min(end, before(comm.rank()) * kEvaluationRows);
  });
  comm.broadcast_struct(rows_of_root);
  mpi::collectively(comm, [&] {
    if (rows != rows_of_root)
      fail(ExitCode::bad_data, "{}: expected {} rows as on rank 0, found {}", path, rows_of_root, rows);
  });
  check_memory(comm, (end - begin) * roster.schema.example_bytes(), "the test examples");
  mpi::collectively(comm, [&] {
    if (begin == end) return;
    // Blocks are runs of rows of the file, also where bad rows are left out: the same for any number of ranks.
    std::vector<std::uint64_t> boundaries;
    for (std::size_t row = begin; row < end; row += kEvaluationRows) boundaries.push_back(row);
    boundaries.push_back(end);
    roster.test = shard->read(boundaries, roster.schema.classes, skip_bad);
  });
  shard.reset();
  roster.test_rows = roster.test.rows;
  comm.all_sum(std::span(&roster.test_rows, 1));
  mpi::collectively(comm, [&] {
    if (!path.empty()) refuse_none_good(roster.test_rows, "data.test", path);
  });
}

}  // namespace fedmpi::federation
