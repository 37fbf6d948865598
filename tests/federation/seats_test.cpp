#include "federation/seats.hpp"

#include <gtest/gtest.h>

#include <set>
#include <utility>

#include "support/expect_error.hpp"

namespace fedmpi::federation {
namespace {

TEST(Seats, OfASingleProcessAreBoth) {
  for (const Seats& seats : {Seats(), Seats(0, 1)}) {
    EXPECT_TRUE(seats.aggregates());
    EXPECT_TRUE(seats.trains());
    EXPECT_TRUE(seats.is_participant(0));
    EXPECT_EQ(seats.participants, 1u);
    EXPECT_EQ(seats.members, 1u);
    EXPECT_EQ(seats.rank_of(0), 0);
    EXPECT_EQ(seats.participant_of(0), 0u);
  }
}

TEST(Seats, GiveEveryRankOnePlace) {
  for (const int team : {1, 2, 3, 5})
    for (const int teams : {1, 2, 4, 7}) {
      const int ranks = 1 + team * teams;
      std::set<std::pair<std::uint64_t, std::uint64_t>> taken;
      for (int rank = 0; rank < ranks; ++rank) {
        const Seats seats(rank, ranks, team);
        EXPECT_EQ(seats.participants, static_cast<std::uint64_t>(teams));
        EXPECT_EQ(seats.members, static_cast<std::uint64_t>(team));
        EXPECT_EQ(seats.aggregates(), rank == 0);
        EXPECT_EQ(seats.trains(), rank > 0);
        EXPECT_EQ(seats.is_participant(seats.participant), rank > 0);
        if (rank == 0) continue;
        EXPECT_FALSE(seats.is_participant(seats.participant + 1));
        EXPECT_LT(seats.participant, seats.participants);
        EXPECT_LT(seats.member, seats.members);
        EXPECT_TRUE(taken.insert({seats.participant, seats.member}).second) << "rank " << rank << " of " << ranks;
        EXPECT_EQ(seats.rank_of(seats.participant, seats.member), rank);
        EXPECT_EQ(seats.participant_of(rank), seats.participant);
      }
    }
}

TEST(Seats, OfATeamAreNeighbours) {
  const Seats first(4, 7, 3), last(6, 7, 3);
  EXPECT_EQ(first.participant, 1u);
  EXPECT_EQ(first.member, 0u);
  EXPECT_EQ(last.participant, 1u);
  EXPECT_EQ(last.member, 2u);
  EXPECT_EQ(last.rank_of(1), 4) << "the team's first rank";
}

TEST(Seats, AreOnlyForWholeTeams) {
  for (const auto& [ranks, team] : {std::pair(1, 2), std::pair(6, 2), std::pair(2, 3), std::pair(4, 0)})
    test::expect_error(ExitCode::usage, {"teams of " + std::to_string(team), std::to_string(ranks) + " ranks"},
                       [&, r = ranks, t = team] { Seats(0, r, t); });
}

}  // namespace
}  // namespace fedmpi::federation
