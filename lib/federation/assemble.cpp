// How a roster comes about: the files are found and shared out, their headers read and compared, the clients placed and
// loaded.
#include <fmt/ranges.h>

#include <algorithm>
#include <filesystem>
#include <numeric>

#include "base/digest.hpp"
#include "base/error.hpp"
#include "base/saturated.hpp"
#include "data/shard.hpp"
#include "federation/roster.hpp"
#include "mpi/messages.hpp"

namespace fedmpi::federation {

namespace {

using data::Schema;
using data::Shard;
using data::Unit;

// What rank 0 needs to know of a shard.
struct Header {
  std::uint64_t file = 0;
  std::uint64_t classes = 0;
  bool names_columns = false, names_labels = false;
  std::uint64_t files = 0;           // that hold all the clients; 0: it does not say
  std::uint64_t example_bytes = 0;   // of an example in memory
  std::vector<std::uint64_t> sizes;  // examples of each client

  void travel(auto& words) { words(file, classes, names_columns, names_labels, files, example_bytes, sizes); }
};

Header header_of(const Shard& shard, std::uint64_t file) {
  const Schema& s = shard.schema();
  Header h{file, s.classes, !s.columns.empty(), !s.label_names.empty(), shard.files(), s.example_bytes(), {}};
  for (std::size_t c = 0; c < shard.clients(); ++c) {
    h.sizes.push_back(shard.offsets()[c + 1] - shard.offsets()[c]);
    if (h.sizes.back() > UINT32_MAX)
      fail(ExitCode::bad_data, "{}: client '{}': expected fewer than 2^32 examples, found {}", shard.path(),
           shard.client_name(c), h.sizes.back());
  }
  return h;
}

// The schemas of the files that this rank has opened, each schema once: names can be long, and most files agree.
class Opened {
 public:
  void add(std::uint64_t file, const Shard& shard) {
    const auto same = std::ranges::find(schemas_, shard.schema());
    files_.push_back({file, static_cast<std::size_t>(same - schemas_.begin()), shard.classes_inferred()});
    if (same == schemas_.end()) schemas_.push_back(shard.schema());
  }
  template <class Visit>  // of file, schema, whether its classes are inferred
  void for_each(Visit visit) const {
    for (const auto& [file, schema, inferred] : files_) visit(file, schemas_[schema], inferred);
  }

 private:
  struct File {
    std::uint64_t file;
    std::size_t schema;
    bool classes_inferred;
  };
  std::vector<File> files_;
  std::vector<Schema> schemas_;
};

// Rank 0 looks for the files once, so that all ranks speak of the same list.
std::vector<std::string> agree_on_files(mpi::Communicator& comm, const std::string& pattern) {
  std::vector<std::string> files;
  mpi::collectively(comm, [&] {
    if (comm.is_root()) files = data::shard_files(pattern);
  });
  mpi::broadcast_words(comm, files);
  return files;
}

// The participant that reads each file's header. Where there are enough files it is the one that will host the file,
// placed by the file's bytes before anyone opens it: no participant ever opens a shard that is not its own.
std::vector<std::uint64_t> assign_files(mpi::Communicator& comm, const Roster& roster) {
  std::vector<std::uint64_t> owners(roster.files.size());
  std::iota(owners.begin(), owners.end(), std::uint64_t{0});
  if (roster.files.size() >= roster.seats.participants && comm.is_root()) {
    std::vector<std::vector<std::uint64_t>> bytes;
    for (const std::string& file : roster.files) {
      std::error_code missing;  // whoever opens it will say so
      const std::uintmax_t size = std::filesystem::file_size(file, missing);
      bytes.push_back({missing ? 0 : size});
    }
    for (const Unit& u : data::place(bytes, roster.seats.participants)) owners[u.file] = u.participant;
  }
  comm.broadcast(std::span(owners));
  return owners;
}

// Every participant opens its files; rank 0 receives every file's header.
std::vector<Header> read_headers(mpi::Communicator& comm, const Roster& roster,
                                 const std::vector<std::uint64_t>& owners, Opened& opened) {
  std::vector<Header> mine;
  mpi::collectively(comm, [&] {
    std::vector<std::string> problems;
    ExitCode code = ExitCode::bad_data;
    for (std::size_t f = 0; f < roster.files.size(); ++f) {
      if (!roster.seats.is_participant(owners[f])) continue;
      try {
        const auto shard = Shard::open(roster.files[f]);
        const auto next = std::find_if(owners.begin() + static_cast<std::ptrdiff_t>(f) + 1, owners.end(),
                                       [&](std::uint64_t owner) { return roster.seats.is_participant(owner); });
        if (next != owners.end()) Shard::open_soon(roster.files[static_cast<std::size_t>(next - owners.begin())]);
        mine.push_back(header_of(*shard, f));
        opened.add(f, *shard);
      } catch (const Error& error) {
        problems.emplace_back(error.what());
        if (error.code() != ExitCode::bad_data) code = error.code();  // says nothing about the file
      }
    }
    if (!problems.empty()) fail(code, "{}", fmt::join(problems, "\n"));
  });
  std::vector<Header> headers;
  for (std::vector<Header>& of_rank : mpi::gather_words(comm, mine))
    std::ranges::move(of_rank, std::back_inserter(headers));
  std::ranges::sort(headers, {}, &Header::file);
  return headers;
}

// All ranks learn the schema that all shards share, or leave with a sentence for every shard that differs.
void agree_on_schema(mpi::Communicator& comm, Roster& roster, const std::vector<Header>& headers,
                     const Opened& opened) {
  std::vector<std::uint64_t> chosen;  // the files of the references
  if (comm.is_root()) {
    const auto choose = [&](auto first) {
      if (first != headers.end() && std::ranges::find(chosen, first->file) == chosen.end())
        chosen.push_back(first->file);
    };
    choose(headers.begin());
    choose(std::ranges::find(headers, true, &Header::names_columns));
    choose(std::ranges::find(headers, true, &Header::names_labels));
    for (const Header& h : headers) roster.schema.classes = std::max<std::size_t>(roster.schema.classes, h.classes);
  }
  mpi::broadcast_words(comm, chosen);
  mpi::broadcast_words(comm, roster.schema.classes);

  std::vector<Reference> mine;
  opened.for_each([&](std::uint64_t file, const Schema& schema, bool inferred) {
    if (std::ranges::find(chosen, file) == chosen.end()) return;
    mine.push_back({roster.files[file], schema});
    if (inferred) mine.back().schema.classes = roster.schema.classes;
  });
  const std::vector<std::vector<Reference>> of_ranks = mpi::gather_words(comm, mine);
  for (const std::uint64_t file : chosen)
    for (const std::vector<Reference>& of_rank : of_ranks)
      std::ranges::copy_if(of_rank, std::back_inserter(roster.references),
                           [&](const Reference& r) { return r.file == roster.files[file]; });
  mpi::broadcast_words(comm, roster.references);

  mpi::collectively(comm, [&] {
    std::vector<std::string> misfits;
    opened.for_each([&](std::uint64_t file, const Schema& schema, bool inferred) {
      if (const auto misfit = roster.misfit(roster.files[file], schema, inferred)) misfits.push_back(*misfit);
    });
    if (!misfits.empty()) fail(ExitCode::bad_data, "{}", fmt::join(misfits, "\n"));
  });
  roster.schema = roster.references.front().schema;
  for (const Reference& r : roster.references) {
    if (roster.schema.columns.empty()) roster.schema.columns = r.schema.columns;
    if (roster.schema.label_names.empty()) roster.schema.label_names = r.schema.label_names;
  }
}

// A directory that holds fewer or more shards than belong together, as those say that are there: one is missing, or is
// there twice.
void refuse_other_number(const Roster& roster, const std::vector<Header>& headers, const std::string& directory) {
  if (headers.empty() || !std::filesystem::is_directory(directory)) return;
  for (const Header& h : headers)
    if (h.files > 0 && h.files != headers.size())
      fail(ExitCode::bad_data,
           "data.shards: expected {} {} in {}, as {} says, found {}; a pattern takes the files as they are", h.files,
           h.files == 1 ? "shard" : "shards", directory, roster.files[h.file], headers.size());
}

// What rank 0 tells all of the clients.
struct Placement {
  Roster& roster;
  void travel(auto& words) { words(roster.first_client, roster.example_bytes, roster.clients, roster.units); }
};

void place_clients(mpi::Communicator& comm, Roster& roster, std::vector<Header> headers,
                   const std::vector<std::uint64_t>& owners) {
  if (comm.is_root()) {
    std::vector<std::vector<std::uint64_t>> sizes;
    for (Header& h : headers) {
      roster.first_client.push_back(roster.clients);
      roster.example_bytes.push_back(h.example_bytes);
      roster.clients += h.sizes.size();
      sizes.push_back(std::move(h.sizes));
    }
    roster.units = data::place(sizes, roster.seats.participants);
    if (sizes.size() >= roster.seats.participants)
      for (Unit& u : roster.units) u.participant = owners[u.file];
  }
  Placement placement{roster};
  mpi::broadcast_words(comm, placement);
  roster.spare = {UINT64_MAX};
  roster.hosts.resize(roster.seats.participants);
  for (std::size_t p = 0; p < roster.hosts.size(); ++p) roster.hosts[p].participant = p;
  for (const Unit& u : roster.units) roster.hosts[u.participant].examples += u.examples;
}

void load_my_clients(mpi::Communicator& comm, Roster& roster) {
  std::vector<data::Part> parts;
  Saturated bytes;
  for (const Unit& u : roster.units) {
    if (!roster.seats.is_participant(u.participant)) continue;
    parts.push_back(roster.part_of(u));
    bytes += Saturated(u.examples) * roster.example_bytes[u.file];
  }
  const data::Budget& budget = roster.budget;
  check_memory(comm, budget.bytes > 0 ? std::min<std::uint64_t>(bytes.value, budget.bytes) : bytes.value,
               "the examples");
  mpi::collectively(comm, [&] { roster.mine = data::load(parts, roster.schema, roster.skip_bad, budget); });
}

// Examples of clients that follow one another.
struct Sizes {
  std::uint64_t first_client = 0;
  std::vector<std::uint32_t> of_clients;
  void travel(auto& words) { words(first_client, of_clients); }
};

// Rank 0 learns how many examples each client has, after bad rows were dropped, and one checksum of all data, which
// says nothing about any one client. With `survive` all ranks learn it of each unit.
void survey(mpi::Communicator& comm, Roster& roster, bool survive) {
  std::vector<Sizes> mine;
  for (const data::Block& b : roster.mine.blocks()) {
    Sizes& sizes = mine.emplace_back(Sizes{b.first_client, {}});
    for (std::size_t i = 0; i < b.runs(); ++i)
      sizes.of_clients.push_back(static_cast<std::uint32_t>(b.offsets[i + 1] - b.offsets[i]));
    roster.dropped += b.dropped;
  }
  std::vector<std::uint64_t> sums = roster.checksums_of(roster.mine);
  if (survive) {
    comm.all_sum(std::span(sums));
    roster.checksums = sums;
  }
  std::uint64_t sum = std::accumulate(sums.begin(), sums.end(), std::uint64_t{0});
  if (!survive) comm.all_sum(std::span(&sum, 1));
  roster.sizes.resize(comm.is_root() ? roster.clients : 0);
  for (const std::vector<Sizes>& of_rank : mpi::gather_words(comm, mine))
    for (const Sizes& sizes : of_rank)
      std::ranges::copy(sizes.of_clients, roster.sizes.begin() + static_cast<std::ptrdiff_t>(sizes.first_client));
  roster.examples = std::accumulate(roster.sizes.begin(), roster.sizes.end(), std::uint64_t{0});
  roster.digest = Digest()
                      .add(roster.schema.text())
                      .add(std::span<const std::uint32_t>(roster.sizes))
                      .add(std::span<const std::uint64_t>(&sum, 1))
                      .hex();
  comm.broadcast_struct(roster.examples);
  comm.all_sum(std::span(&roster.dropped, 1));
}

}  // namespace

Roster assemble(mpi::Communicator& comm, const std::string& shards, bool skip_bad, data::Budget budget, bool survive) {
  Roster roster;
  roster.seats = Seats(comm);
  roster.skip_bad = skip_bad;
  roster.budget = budget;
  roster.files = agree_on_files(comm, shards);
  const std::vector<std::uint64_t> owners = assign_files(comm, roster);
  Opened opened;
  std::vector<Header> headers = read_headers(comm, roster, owners, opened);
  agree_on_schema(comm, roster, headers, opened);
  mpi::collectively(comm, [&] { refuse_other_number(roster, headers, shards); });
  place_clients(comm, roster, std::move(headers), owners);
  load_my_clients(comm, roster);
  survey(comm, roster, survive);
  mpi::collectively(comm, [&] {
    if (roster.examples == 0)
      fail(ExitCode::bad_data, "data.shards: expected an example that is not bad in {}, found none", shards);
  });
  return roster;
}

}  // namespace fedmpi::federation
