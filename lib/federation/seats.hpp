// Which rank does what. Everything else asks here instead of computing with rank numbers.
#pragma once

#include <cstdint>

#include "base/error.hpp"
#include "mpi/communicator.hpp"

namespace fedmpi::federation {

// Rank 0 aggregates. The ranks after it train: each participant is a team of `members` consecutive ranks. A single
// process is aggregator and participant at once.
struct Seats {
  int rank = 0;
  std::uint64_t participants = 1, members = 1;
  std::uint64_t participant = 0, member = 0;  // of this rank, where it trains

  Seats() = default;
  // Error(usage) unless the ranks are one for the aggregator and whole teams.
  Seats(int of_rank, int ranks, int team = 1) : rank(of_rank), members(static_cast<std::uint64_t>(team)) {
    if (team < 1 || (ranks == 1 ? team > 1 : (ranks - 1) % team != 0))
      fail(ExitCode::usage, "expected one rank for the aggregator and teams of {}, found {} ranks", team, ranks);
    if (ranks > 1) participants = static_cast<std::uint64_t>((ranks - 1) / team);
    alone_ = ranks == 1;
    if (!trains()) return;
    participant = participant_of(rank);
    member = alone_ ? 0 : static_cast<std::uint64_t>(rank - 1) % members;
  }
  explicit Seats(const mpi::Communicator& comm, int team = 1) : Seats(comm.rank(), comm.size(), team) {}

  bool aggregates() const { return rank == 0; }
  bool trains() const { return alone_ || rank > 0; }
  bool is_participant(std::uint64_t p) const { return trains() && participant == p; }

  int rank_of(std::uint64_t p, std::uint64_t of_member = 0) const {
    return alone_ ? 0 : static_cast<int>(1 + p * members + of_member);
  }
  // Of a rank that trains.
  std::uint64_t participant_of(int of_rank) const {
    return alone_ ? 0 : static_cast<std::uint64_t>(of_rank - 1) / members;
  }

 private:
  bool alone_ = true;
};

}  // namespace fedmpi::federation
