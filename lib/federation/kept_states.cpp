#include "federation/kept_states.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <array>

namespace fedmpi::federation {

namespace {

constexpr int kDeadlinesToStore = 10;

void merge(StoredStates& into, const StoredStates& from) {
  client::StatesSum sum = into.sum;
  sum.clients += from.sum.clients;
  sum.checksum += from.sum.checksum;
  if (from.failed_rank < into.failed_rank) into = from;
  into.sum = sum;
}

}  // namespace

std::optional<Error> StoredStates::failure() const {
  if (code == ExitCode::done) return std::nullopt;
  return Error(code, fmt::format("rank {}: {}", failed_rank, why));
}

std::string KeptStates::directory() const {
  return config_.run.client_states.empty() ? config_.run.dir : config_.run.client_states;
}

std::vector<checkpoint::ClientRun> KeptStates::runs(const std::vector<data::Unit>& units) const {
  std::vector<checkpoint::ClientRun> mine;
  for (const data::Unit& u : units) {
    if (!roster_.seats.is_participant(u.participant)) continue;
    const data::ClientId first = roster_.first_client[u.file] + u.first_client;
    mine.push_back({first, first + u.clients});
  }
  return mine;
}

void KeptStates::restore(Beginning beginning) {
  if (none()) return;
  std::array<std::uint64_t, 3> told = {beginning.round, beginning.states.clients, beginning.states.checksum};
  comm_.broadcast(std::span<std::uint64_t>(told));
  comm_.broadcast(beginning.directory);
  if (told[1] == 0) return;
  const std::string from = config_.run.client_states.empty() ? beginning.directory : config_.run.client_states;
  mpi::collectively(comm_, [&] { checkpoint::read_client_states(states_, runs(roster_.units), from, told[0]); });
  const client::StatesSum here = states_.sum();
  std::array<std::uint64_t, 2> found = {here.clients, here.checksum};
  comm_.all_sum(std::span<std::uint64_t>(found));
  mpi::collectively(comm_, [&] {
    if (comm_.is_root() && (found[0] != told[1] || found[1] != told[2]))
      fail(ExitCode::bad_data, "run.resume: expected in {} what {} clients kept after round {}, found {}", from,
           told[1], told[0], found[0] == told[1] ? "something else" : fmt::format("that of {}", found[0]));
  });
  stored_ = told[0];
}

void KeptStates::begin(std::uint64_t round) {
  if (none()) return;
  comm_.broadcast_struct(round);
  mpi::collectively(comm_, [&] {
    if (roster_.seats.trains())
      checkpoint::remove_client_states(directory(), [&](std::uint64_t r) { return r > round; });
  });
}

StoredStates KeptStates::store(std::uint64_t round, std::uint64_t oldest_kept) {
  StoredStates stored;
  try {
    if (roster_.seats.trains()) {
      checkpoint::remove_client_states(directory(), [&](std::uint64_t r) { return r < oldest_kept; });
      checkpoint::write_client_states(states_, runs(roster_.units), directory(), round);
    }
    stored.sum = states_.sum();
  } catch (const Error& error) {
    stored.failed_rank = comm_.rank();
    stored.code = error.code();
    const std::string why = error.what();
    why.copy(stored.why, sizeof stored.why - 1);
  }
  const std::size_t lost = cluster_.lost();
  cluster_.all_merge<StoredStates, merge>(stored, kDeadlinesToStore);
  if (cluster_.lost() > lost && stored.code == ExitCode::done) {  // on rank 0, which alone saves the model
    stored.code = ExitCode::stopped;
    stored.failed_rank = cluster_.lost(lost);
    fmt::format_to_n(stored.why, sizeof stored.why - 1, "did not say whether what its clients keep is stored");
  }
  if (stored.code == ExitCode::done) stored_ = round;
  return stored;
}

std::uint64_t KeptStates::take_over(const std::vector<data::Unit>& before) {
  if (none() || !stored_) return 0;
  std::vector<checkpoint::ClientRun> had = runs(before), now = runs(roster_.units);
  std::erase_if(now, [&](const checkpoint::ClientRun& run) {
    return std::any_of(had.begin(), had.end(), [&](const auto& h) { return h.first == run.first; });
  });
  const std::uint64_t clients = states_.sum().clients;
  try {
    checkpoint::read_client_states(states_, now, directory(), *stored_);
  } catch (const Error&) {  // a directory of the other's own, or a damaged file: the run says for how many
  }
  return states_.sum().clients - clients;
}

}  // namespace fedmpi::federation
