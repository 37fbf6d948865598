// The ranks as a cluster of nodes: those of one node share memory; one of each node, its leader, speaks MPI with the
// other leaders. Rank 0 leads its node. What is small and frequent in a round goes this way, in two levels.
#pragma once

#include <mpi.h>

#include <chrono>
#include <cstdint>
#include <cstring>
#include <memory>
#include <optional>
#include <span>
#include <type_traits>
#include <vector>

#include "mpi/communicator.hpp"
#include "mpi/doorbell.hpp"
#include "mpi/polling.hpp"
#include "mpi/star.hpp"

namespace fedmpi::mpi {

class RollCall;
class SharedMemory;

class Cluster {
 public:
  // What to do about a rank that does not answer within the deadline, in seconds; 0: wait for ever.
  struct Patience {
    double deadline = 0.0;
    // Go on without it; else it is an Error(stopped) of rank 0, which names it. For the world of a Session, whose
    // lifeline would else end rank 0, and ends the others with rank 0.
    bool survive = false;
  };

  // On all ranks together. Without `shared_memory`, or with `survive`, every rank is a node of its own.
  Cluster(Communicator& comm, bool shared_memory, Patience patience);
  Cluster(Communicator& comm, bool shared_memory) : Cluster(comm, shared_memory, Patience{}) {}
  // With these ranks of `comm` as this rank's node, which must share memory; null: it alone.
  Cluster(Communicator& comm, std::unique_ptr<Communicator> node, Patience patience);
  ~Cluster();
  Cluster(const Cluster&) = delete;
  Cluster& operator=(const Cluster&) = delete;

  bool is_root() const { return comm_.is_root(); }
  bool leads() const { return leads_; }     // this rank is its node's leader: member 0
  int member() const { return member_; }    // of this node, in order of rank
  int members() const { return members_; }  // how many share this node's memory
  int nodes() const { return nodes_; }
  int cores() const { return cores_; }  // of this node, the same number on all its members

  // From rank 0 to all: a plain struct and, before any rank has it, `vector`, which on every node is one piece of
  // memory that its members share (see Shared).
  template <class T>
  void broadcast(T& value, std::span<float> vector = {}) {
    static_assert(std::is_trivially_copyable_v<T> && sizeof(T) <= kPayload);
    if (star_) {
      star_->broadcast(std::as_writable_bytes(std::span(&value, 1)));
      star_->broadcast(std::as_writable_bytes(vector));
    } else if (leads_ && nodes_ > 1) {
      leaders_->broadcast_struct(value);
      leaders_->broadcast(vector);
    }
    release(&value, sizeof(T));
  }

  // Merges a plain struct of every rank into one that all receive; `merge(into, from)` has to be associative and
  // commutative. While it waits, a rank gives its core away. With `survive` it waits for so many deadlines.
  template <class T, void (*merge)(T&, const T&)>
  void all_merge(T& value, int deadlines = 1) {
    static_assert(std::is_trivially_copyable_v<T> && sizeof(T) <= kPayload);
    if (star_)
      return star_->all_merge(std::as_writable_bytes(std::span(&value, 1)), &Communicator::merge_elements<T, merge>,
                              deadlines);
    arrive(&value, sizeof(T));
    if (leads_) {
      for (int m = 1; m < members_; ++m) {
        T other;
        std::memcpy(static_cast<void*>(&other), said_by(m), sizeof(T));
        merge(value, other);
      }
      if (nodes_ > 1) leaders_->all_merge<T, merge>(value);
    }
    release(&value, sizeof(T));
  }

  // The leader goes on when all members have called; what they wrote to shared memory before is then visible to it.
  void arrive() { arrive(nullptr, 0); }
  // The members go on when the leader has called.
  void release() { release(nullptr, 0); }

  // Two nodes: the leader of the other one tells rank 0, which expects it; messages that finish() waits for, see
  // Communicator.
  bool is_a_pair() const { return !star_ && nodes_ == 2; }
  template <class T>
  MPI_Request tell_root(std::span<const T> values) {
    return leaders_->send(values, 0);
  }
  template <class T>
  MPI_Request expect(std::span<T> values) {
    return leaders_->expect(values, 1);
  }
  void finish(MPI_Request& message) { leaders_->finish(message); }

  // Element-wise sum over the leaders but rank 0, on rank 0; called by leaders. Long sums go a block at a time: what
  // send_sum() was given is its own until its next call returns, or finish_sum() after the last, so that one block
  // travels while the next is made.
  void send_sum(std::span<std::int64_t> block);  // by all but rank 0
  void finish_sum();
  void receive_sum(std::span<std::int64_t> block);  // by rank 0

  // With `survive`: the ranks that have been lost, in the order of their loss, on rank 0. A sum that was on its way
  // when somebody was lost is wrong.
  bool survives() const { return star_ != nullptr; }
  std::size_t lost() const { return star_ ? star_->lost().size() : 0; }
  int lost(std::size_t i) const { return star_->lost()[i]; }
  // What all do together before them needs all ranks: a lifeline that expects signs of life finds
  // those that stand still. From now on rank 0 finds out by itself who does not answer, and with `survive` the death of
  // a participant no longer ends the run.
  void rounds_begin();
  // Without `survive` all is as before them.
  void rounds_end();
  // On rank 0, before the end: whoever has died since it last had something to say is lost too.
  void look_for_lost();
  // On all ranks that know of the loss, at the end: nothing collective follows, MPI is not finalised. When the session
  // is over, rank 0 ends the job with that code if a lost rank may still run on another host, or `others_wait`: some do
  // not know.
  void abandon_lost(int exit_code, bool others_wait);

 private:
  friend class SharedMemory;
  struct Board;                                  // in shared memory: what one of the node has to say
  static constexpr std::size_t kPayload = 1024;  // bytes of the largest struct that travels

  void arrive(const void* data, std::size_t bytes);
  void release(void* data, std::size_t bytes);
  const void* said_by(int member) const;
  void wait(Doorbell& bell, std::uint32_t count, std::optional<Polling>& waiting) const;

  Communicator& comm_;
  std::unique_ptr<Communicator> node_, leaders_, senders_;  // on leaders; on leaders but rank 0
  std::unique_ptr<RollCall> roll_call_;                     // with a deadline and without `survive`
  std::unique_ptr<Star> star_;                              // instead of leaders_, with `survive`
  std::unique_ptr<SharedMemory> memory_;
  std::uint64_t room_ = 0, taken_ = 0;  // bytes that the members may share, and have been given; on the leader
  std::vector<Board*> boards_;          // of each member, for the leader
  Board* notice_ = nullptr;             // of the leader, for all
  bool leads_ = true;
  int cores_, looks_, member_ = 0, members_ = 1, nodes_ = 1;
  MPI_Request sent_ = MPI_REQUEST_NULL;  // the last block of a sum
  std::uint32_t arrivals_ = 0, releases_ = 0;
  int unseen_ = 0;  // releases since all were last known to have read one
};

}  // namespace fedmpi::mpi
