// A cluster in two levels: the ranks of a node share memory, and one of each node, its leader, speaks MPI with the
// other leaders. Rank 0 leads its node.
#pragma once

#include <mpi.h>

#include <memory>
#include <optional>
#include <span>
#include <vector>

#include "mpi/cluster.hpp"
#include "mpi/doorbell.hpp"
#include "mpi/polling.hpp"
#include "mpi/roll_call.hpp"
#include "mpi/shared_memory.hpp"

namespace fedmpi::mpi {

class Levels : public Cluster {
 public:
  // See make_cluster().
  Levels(Communicator& comm, std::unique_ptr<Communicator> node, const Patience& patience);

  void arrive() override { arrive({}); }
  void release() override { release({}); }
  void send_sum(std::span<std::int64_t> block) override;
  void finish_sum() override { leaders_->finish(sent_); }
  void receive_sum(std::span<std::int64_t> block) override;
  void collectively(const std::function<void()>& work) override { mpi::collectively(comm_, work); }
  NodeMemory* memory() override { return node_ ? &*node_ : nullptr; }
  Traffic take_traffic() override;
  bool survives() const override { return false; }
  void rounds_begin() override;
  void rounds_end() override;

 private:
  struct Board;  // in shared memory: what one of the node has to say

  void broadcast_bytes(std::span<std::byte> value, std::span<float> vector) override;
  void merge_bytes(std::span<std::byte> value, MPI_User_function* merge, int deadlines) override;
  void arrive(std::span<const std::byte> said);
  void release(std::span<std::byte> said);
  void wait(Doorbell& bell, std::uint32_t count, std::optional<Polling>& waiting) const;
  void make_boards();

  Communicator& comm_;
  std::unique_ptr<RollCall> roll_call_;  // with a deadline
  struct Asking {                        // of the roll call, by the communicator that lives longer
    Communicator& comm;
    ~Asking() { comm.set_roll_call(nullptr); }
  } asking_{comm_};
  std::unique_ptr<Communicator> leaders_, senders_;  // on leaders; on leaders but rank 0
  std::optional<NodeMemory> node_;                   // where it has several members
  std::optional<SharedMemory> segments_;             // in which the boards lie
  std::vector<Board*> boards_;                       // of each member, for the leader
  Board* notice_ = nullptr;                          // of the leader, for all
  int looks_ = 1;
  MPI_Request sent_ = MPI_REQUEST_NULL;  // the last block of a sum
  std::uint32_t arrivals_ = 0, releases_ = 0;
  int unseen_ = 0;  // releases since all were last known to have read one
  Traffic sums_;    // on rank 0
};

}  // namespace fedmpi::mpi
