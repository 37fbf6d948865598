// Rank 0 and the participants by point-to-point messages alone, so that a rank that has died or hangs holds up the
// others for no longer than the deadline, and is left out from then on. (A collective never returns without it.)
#pragma once

#include <mpi.h>

#include <array>
#include <cstdint>
#include <span>
#include <vector>

#include "mpi/cluster.hpp"
#include "mpi/process.hpp"

namespace fedmpi::mpi {

class Star final : public Cluster {
 public:
  // On all ranks together. The deadline, in seconds and above 0, counts the time in which nothing moves: vectors travel
  // in blocks, and a rank that took or sent one within it is not late, however long the whole takes. What was on its
  // way to a rank as it was lost must stay until the job ends: if it still runs, MPI may yet send that.
  Star(Communicator& comm, double deadline);
  ~Star() override;

  void arrive() override {}
  void release() override {}
  void send_sum(std::span<std::int64_t> block) override;
  void finish_sum() override {}
  void receive_sum(std::span<std::int64_t> block) override;
  void collectively(const std::function<void()>& work) override { mpi::collectively(comm_, work); }
  Traffic take_traffic() override;
  // A lost rank is killed, if this process may (see Session) and can; else it is told to leave.
  bool survives() const override { return true; }
  void rounds_begin() override;
  void look_for_lost() override;
  void abandon_lost(int exit_code, bool others_wait) override;

  static constexpr std::size_t kBlock = std::size_t{1} << 22;  // bytes: of large vectors, what travels in one message

 private:
  enum Tag : int { kDown, kUp, kLeave };

  // What goes to or comes from one rank, two blocks at a time.
  struct Transfer {
    int rank;
    Tag tag;
    bool sends;
    std::span<std::byte> rest;  // that has not begun to move
    std::array<MPI_Request, 2> blocks = {MPI_REQUEST_NULL, MPI_REQUEST_NULL};
    double moved = 0.0;  // when a block last did, in seconds of waiting

    enum class State { moves, done, broken } state = State::moves;
    State move(double now, MPI_Comm comm);  // posts and tests what can be
    void give_up();
  };

  void broadcast_bytes(std::span<std::byte> value, std::span<float> vector) override;
  void merge_bytes(std::span<std::byte> value, MPI_User_function* merge, int deadlines) override;
  bool present(int rank) const { return present_[static_cast<std::size_t>(rank)]; }
  void to(int rank, Tag tag, std::span<std::byte> data);
  void from(int rank, Tag tag, std::span<std::byte> data);
  // Waits until all that was said to go to or come from ranks has. On rank 0, for each no longer than so many deadlines
  // without a block that moves: then it is lost. On a participant, for rank 0; Error(stopped) if this rank is to leave.
  void finish(int deadlines = 1);
  void break_off(Transfer& transfer);
  void leave_if_told();
  void lose(int rank);
  // On rank 0: room in said_; if a rank was lost since there were so many, it stays, since MPI may yet write there.
  void make_room(std::size_t bytes);
  void keep_room_if_lost(std::size_t lost_before);

  Communicator& comm_;
  double deadline_;
  std::vector<Process> processes_;  // of each rank, on rank 0
  std::vector<bool> present_;
  bool some_may_run_ = false;  // on rank 0: a lost rank was told to leave, and may not hear it
  std::vector<Transfer> transfers_;
  std::vector<std::byte> said_;  // on rank 0: what comes from ranks
  std::vector<std::vector<std::byte>> rooms_of_lost_;
  MPI_Request leave_ = MPI_REQUEST_NULL;  // on a participant: that it is no longer wanted
  Traffic traffic_;                       // on rank 0
};

}  // namespace fedmpi::mpi
