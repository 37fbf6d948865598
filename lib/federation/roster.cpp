#include "federation/roster.hpp"

#include <fmt/ranges.h>

#include <algorithm>
#include <array>
#include <map>
#include <new>

#include "base/checksum.hpp"
#include "base/error.hpp"
#include "base/saturated.hpp"
#include "data/shard.hpp"
#include "mpi/messages.hpp"

namespace fedmpi::federation {

void Roster::check_trainable() const {
  std::vector<bool> busy(seats.participants, false);
  for (const data::Unit& u : units) busy[u.participant] = true;
  std::vector<int> idle;
  for (std::size_t p = 0; p < busy.size(); ++p)
    if (!busy[p]) idle.push_back(seats.rank_of(p));
  if (!idle.empty())
    fail(ExitCode::usage,
         "expected at least one client per participant, found {} for {} participants: idle would be rank {}", clients,
         seats.participants, fmt::join(idle, ", "));
  if (schema.task == data::Task::classification && schema.classes < 2)
    fail(ExitCode::bad_data, "data.shards: expected labels of at least 2 classes in {}, found the label 0 alone",
         files.size() == 1 ? files[0] : fmt::format("{} and {} more", files[0], files.size() - 1));
}

std::string Roster::describe(data::ClientId id) const {
  const auto after = std::upper_bound(first_client.begin(), first_client.end(), id);
  const std::size_t file = static_cast<std::size_t>(after - first_client.begin()) - 1;
  return fmt::format("client '{}' of {}", data::Shard::open(files[file])->client_name(id - first_client[file]),
                     files[file]);
}

std::string Roster::clients_of(std::uint64_t participant) const {
  std::map<std::size_t, std::vector<std::string>> runs;  // by file
  for (const data::Unit& u : units)
    if (u.participant == participant)
      runs[u.file].push_back(u.clients == 1
                                 ? fmt::format("client {}", u.first_client)
                                 : fmt::format("clients {} to {}", u.first_client, u.first_client + u.clients - 1));
  std::vector<std::string> texts;
  for (const auto& [file, of_file] : runs)
    texts.push_back(fmt::format("{} of {}", fmt::join(of_file, ", "), files[file]));
  return fmt::format("{}", fmt::join(texts, "; "));
}

std::optional<std::string> Roster::misfit(const std::string& file, data::Schema found, bool classes_inferred) const {
  if (classes_inferred) found.classes = std::max(found.classes, schema.classes);
  for (const Reference& reference : references)
    if (const auto difference = found.difference(reference.schema))
      return fmt::format("{}: expected {} as in {}, found {}", file, reference.schema.text(), reference.file,
                         *difference);
  return std::nullopt;
}

data::Part Roster::part_of(const data::Unit& u) const {
  return {files[u.file], u.first_client, u.clients, u.examples, first_client[u.file] + u.first_client};
}

std::vector<std::uint64_t> Roster::checksums_of(const data::Dataset& from) const {
  std::vector<std::uint64_t> sums(units.size());
  for (const data::Block& b : from.blocks()) {
    const auto after = std::ranges::upper_bound(
        units, b.first_client, {}, [&](const data::Unit& u) { return first_client[u.file] + u.first_client; });
    for (std::size_t i = 0; i < b.runs(); ++i) {
      const std::array<std::uint64_t, 2> of_client = {b.first_client + i, b.checksum_of_run(i)};
      sums[static_cast<std::size_t>(after - units.begin()) - 1] += checksum(std::as_bytes(std::span(of_client)));
    }
  }
  return sums;
}

void Roster::learn_room(mpi::Communicator& comm, const SpareMemory& left, std::uint64_t bytes_of_state) {
  spare = left.bytes;
  state_bytes = bytes_of_state;
  std::array<std::uint64_t, 2> own = {mine.memory(), budget.bytes > 0 ? budget.bytes : UINT64_MAX};
  std::vector<std::uint64_t> of_all = comm.gather(std::span<const std::uint64_t>(own));
  mpi::broadcast_words(comm, of_all);
  for (data::Host& host : hosts) {
    const auto rank = static_cast<std::size_t>(seats.rank_of(host.participant));
    host.node = left.node[rank];
    host.bytes = of_all[2 * rank];
    host.may_hold = of_all[2 * rank + 1];
  }
}

std::uint64_t Roster::bytes_of(const data::Unit& u) const {
  return (Saturated(u.examples) * example_bytes[u.file] + Saturated(u.clients) * state_bytes).value;
}

TakenOver Roster::take_over(std::span<const std::uint64_t> lost) {
  const auto is_lost = [&](std::uint64_t p) { return std::ranges::find(lost, p) != lost.end(); };
  std::erase_if(hosts, [&](const data::Host& host) {
    if (!is_lost(host.participant)) return false;
    spare[host.node] = (Saturated(spare[host.node]) + host.bytes).value;
    return true;
  });
  std::vector<data::Unit*> theirs;
  std::vector<std::uint64_t> bytes;
  for (data::Unit& u : units) {
    if (!is_lost(u.participant)) continue;
    theirs.push_back(&u);
    bytes.push_back(bytes_of(u));
  }
  data::hand_out(theirs, bytes, hosts, spare);
  TakenOver result;
  for (const data::Unit* u : theirs) {
    if (u->participant == data::kNobody) result.no_room += u->clients;
    if (!seats.is_participant(u->participant)) continue;
    if (!load(*u, checksums[static_cast<std::size_t>(u - units.data())])) result.out_of_reach += u->clients;
  }
  return result;
}

// Takes the unit in here, if that can be done.
bool Roster::load(const data::Unit& unit, std::uint64_t checksum) {
  const std::uint64_t room = budget.bytes > 0 ? budget.bytes - std::min(budget.bytes, mine.memory()) : UINT64_MAX;
  if (std::min(bytes_of(unit), room) > free_memory()) return false;  // others may have taken it
  try {
    const data::Part part = part_of(unit);
    data::Dataset theirs = data::load(std::span(&part, 1), schema, skip_bad, budget, &mine);
    if (checksums_of(theirs)[static_cast<std::size_t>(&unit - units.data())] != checksum) return false;
    mine.add(std::move(theirs));
    return true;
  } catch (const Error&) {  // a file of the other's own, or another by now
    return false;
  } catch (const std::bad_alloc&) {
    return false;
  }
}

}  // namespace fedmpi::federation
