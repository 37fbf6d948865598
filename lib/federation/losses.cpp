#include "federation/losses.hpp"

#include <fmt/ranges.h>

#include <algorithm>
#include <array>
#include <map>

namespace fedmpi::federation {

namespace {

constexpr std::size_t kAtOnce = 200;  // ranks that one order tells of
constexpr int kDeadlinesToLoad = 10;  // for the clients of a lost participant

struct Found {
  std::uint64_t out_of_reach = 0;  // clients whose data cannot be read by the others
  std::uint64_t restored = 0;      // for which what they kept has been found
};
void add(Found& into, const Found& from) {
  into.out_of_reach += from.out_of_reach;
  into.restored += from.restored;
}

}  // namespace

std::int32_t Losses::new_ones() const {
  return static_cast<std::int32_t>(std::min<std::size_t>(cluster_.lost() - gone_.size(), kAtOnce));
}

std::vector<std::string> Losses::go_on_without(std::int32_t lost, std::uint64_t round, KeptStates& kept) {
  std::array<std::int32_t, kAtOnce> ranks{};
  for (std::size_t i = 0; comm_.is_root() && i < static_cast<std::size_t>(lost); ++i)
    ranks[i] = cluster_.lost(gone_.size() + i);
  cluster_.broadcast(ranks);
  std::vector<std::string> events;
  std::vector<std::uint64_t> theirs;
  for (std::size_t i = 0; i < static_cast<std::size_t>(lost); ++i) {
    theirs.push_back(roster_.seats.participant_of(ranks[i]));
    gone_.push_back(theirs.back());
    if (comm_.is_root())
      events.push_back(fmt::format("rank {} did not answer in round {}; it hosted {}", ranks[i], round,
                                   roster_.clients_of(theirs.back())));
  }
  const std::vector<data::Unit> before = roster_.units;
  const TakenOver taken = roster_.take_over(theirs);
  if (roster_.hosts.empty()) return events;
  Found found{taken.out_of_reach, kept.take_over(before)};
  cluster_.all_merge<Found, add>(found, kDeadlinesToLoad);
  if (!comm_.is_root()) return {};
  if (taken.no_room + found.out_of_reach == 0)
    events.push_back("the other participants have taken over its clients: " + hosts_since(before));
  if (taken.no_room > 0)
    events.push_back(
        fmt::format("{} of its clients do not fit into the memory of the other participants, and take no "
                    "further part",
                    taken.no_room));
  if (found.out_of_reach > 0)
    events.push_back(
        fmt::format("{} of its clients cannot be read by the other participants, or have changed on file, "
                    "and take no further part",
                    found.out_of_reach));
  if (!kept.none())
    events.push_back(
        fmt::format("{} of them continue with what they kept when the run was last saved, the others with "
                    "nothing",
                    found.restored));
  return events;
}

std::string Losses::hosts_since(const std::vector<data::Unit>& before) const {
  std::map<int, std::uint64_t> clients;  // by rank
  for (std::size_t i = 0; i < before.size(); ++i)
    if (const data::Unit& u = roster_.units[i]; u.participant != before[i].participant)
      clients[roster_.seats.rank_of(u.participant)] += u.clients;
  std::vector<std::string> texts;
  for (const auto& [rank, n] : clients) texts.push_back(fmt::format("{} on rank {}", n, rank));
  return fmt::format("{}", fmt::join(texts, ", "));
}

void Losses::leave(ExitCode code) {
  cluster_.look_for_lost();
  if (!gone_.empty() || cluster_.lost() > 0)
    cluster_.abandon_lost(static_cast<int>(code), cluster_.lost() > gone_.size());
}

}  // namespace fedmpi::federation
