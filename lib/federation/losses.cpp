#include "federation/losses.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <array>

namespace fedmpi::federation {

namespace {

constexpr std::size_t kAtOnce = 200;  // ranks that one order tells of
constexpr int kDeadlinesToLoad = 10;  // for the clients of a lost participant

struct OutOfReach {
  std::uint64_t clients = 0;   // whose data cannot be read by the others
  std::uint64_t restored = 0;  // for which what they kept has been found
};
void add(OutOfReach& into, const OutOfReach& from) {
  into.clients += from.clients;
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
  std::vector<std::uint64_t> theirs, left;
  for (std::int32_t i = 0; i < lost; ++i) {
    theirs.push_back(static_cast<std::uint64_t>(ranks[static_cast<std::size_t>(i)]) - 1);
    gone_.push_back(theirs.back());
    if (comm_.is_root())
      events.push_back(fmt::format("rank {} did not answer in round {}; it hosted {}", theirs.back() + 1, round,
                                   roster_.clients_of(theirs.back())));
  }
  for (int p = 0; p < participants(comm_); ++p)
    if (std::find(gone_.begin(), gone_.end(), static_cast<std::uint64_t>(p)) == gone_.end())
      left.push_back(static_cast<std::uint64_t>(p));
  if (left.empty()) return events;
  const std::vector<data::Unit> before = roster_.units;
  OutOfReach out{roster_.take_over(theirs, left, participant_index(comm_)), 0};
  out.restored = kept.take_over(before);
  cluster_.all_merge<OutOfReach, add>(out, kDeadlinesToLoad);
  if (!comm_.is_root()) return {};
  events.push_back(out.clients == 0 ? "the other participants have taken over its clients"
                                    : fmt::format("{} of its clients cannot be read by the other participants, or have "
                                                  "changed on file, and take no further part",
                                                  out.clients));
  if (!kept.none())
    events.push_back(
        fmt::format("{} of them continue with what they kept when the run was last saved, the others with "
                    "nothing",
                    out.restored));
  return events;
}

void Losses::leave(ExitCode code) {
  cluster_.look_for_lost();
  if (!gone_.empty() || cluster_.lost() > 0)
    cluster_.abandon_lost(static_cast<int>(code), cluster_.lost() > gone_.size());
}

}  // namespace fedmpi::federation
