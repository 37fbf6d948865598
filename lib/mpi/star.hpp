// Rank 0 and the participants by point-to-point messages alone, so that a rank that has died or stalls holds up the
// others for no longer than the deadline, and is left out from then on. (A collective never returns without it.)
#pragma once

#include <mpi.h>

#include <cstdint>
#include <span>
#include <string>
#include <vector>

#include "mpi/communicator.hpp"

namespace fedmpi::mpi {

class Star {
 public:
  // On all ranks together. `deadline` in seconds, above 0.
  Star(Communicator& comm, double deadline);
  ~Star();
  Star(const Star&) = delete;

  // From rank 0 to all that are left.
  void broadcast(std::span<std::byte> data);
  // Merges what all that are left have to say, and tells them. Those who do not say it within so many deadlines are
  // lost.
  void all_merge(std::span<std::byte> value, MPI_User_function* merge, int deadlines = 1);
  // Element-wise sum, on rank 0. It is wrong if anybody was lost on the way.
  void reduce_sum(std::span<std::int64_t> values);

  // On rank 0: that rank is known to be gone.
  void leave_out(int rank) { lose(rank); }
  // On rank 0: the ranks lost so far, in the order of their loss. They are killed or, on another host, told to leave.
  const std::vector<int>& lost() const { return lost_; }
  bool lost_elsewhere() const;  // on rank 0: whether a lost rank may still be running, on another host

 private:
  enum Tag : int { kDown, kUp, kLeave };
  struct Process {
    char host[MPI_MAX_PROCESSOR_NAME];
    std::int64_t pid;
  };
  struct Transfer {
    int rank;
    MPI_Request request;
  };

  std::vector<int> present() const;  // the participants that are left
  void send(int rank, std::span<const std::byte> data, Tag tag, std::vector<Transfer>& transfers);
  void receive(int rank, std::span<std::byte> data, Tag tag, std::vector<Transfer>& transfers);
  void finish(std::vector<Transfer>& transfers, int deadlines = 1);  // on rank 0: in time, or the rank is lost
  // finish() of what goes into `room`, which is kept if somebody was lost: MPI may yet write there.
  void finish_into(std::vector<std::byte>& room, std::vector<Transfer>& transfers, int deadlines = 1);
  void wait(std::vector<Transfer>& transfers);  // on a participant: for rank 0; leaves the program when told to
  void lose(int rank);

  Communicator& comm_;
  double deadline_;
  std::vector<Process> processes_;  // of each rank, on rank 0
  std::vector<bool> present_;
  std::vector<int> lost_;
  std::vector<std::vector<std::byte>> rooms_of_lost_;
  MPI_Request leave_ = MPI_REQUEST_NULL;  // on a participant: that it is no longer wanted
};

}  // namespace fedmpi::mpi
