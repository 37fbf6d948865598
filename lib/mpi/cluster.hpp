// The ranks of a run, as the rounds see them: rank 0, which aggregates, and nodes whose members share memory. What is
// small and frequent in a round, the model and the sums of updates go this way.
#pragma once

#include <mpi.h>

#include <cstddef>
#include <cstdint>
#include <functional>
#include <memory>
#include <span>
#include <type_traits>
#include <vector>

#include "mpi/communicator.hpp"
#include "mpi/traffic.hpp"

namespace fedmpi::mpi {

class NodeMemory;

// What to do about a rank that does not answer.
struct Patience {
  double deadline = 0.0;  // seconds that rank 0 waits for it; 0: for ever
  // Continue without it; else it is an Error(stopped) of rank 0, which names it. For the world of a Session, whose
  // lifeline would else end rank 0, and ends the others with rank 0.
  bool survive = false;
  double to_answer = 1.0;  // seconds, at most, in which a rank that waits too must say so when it is asked
};

class Cluster {
 public:
  virtual ~Cluster() = default;
  Cluster(const Cluster&) = delete;
  Cluster& operator=(const Cluster&) = delete;

  bool is_root() const { return seat_.root; }
  bool leads() const { return seat_.member == 0; }  // this rank speaks for its node
  int member() const { return seat_.member; }       // of this node, in order of rank
  int members() const { return seat_.members; }     // how many share this node's memory
  int nodes() const { return seat_.nodes; }
  int cores() const { return seat_.cores; }  // of this node, the same number on all its members

  // From rank 0 to all: a plain struct and, before any rank has it, `vector`, which on every node is one piece of
  // memory that its members share (see Shared).
  template <class T>
  void broadcast(T& value, std::span<float> vector = {}) {
    static_assert(std::is_trivially_copyable_v<T> && sizeof(T) <= kPayload);
    broadcast_bytes(std::as_writable_bytes(std::span(&value, 1)), vector);
  }

  // Merges a plain struct of every rank into one that all receive; `merge(into, from)` has to be associative and
  // commutative. While it waits, a rank gives its core away. With `survive` rank 0 waits for so many deadlines.
  template <class T, void (*merge)(T&, const T&)>
  void all_merge(T& value, int deadlines = 1) {
    static_assert(std::is_trivially_copyable_v<T> && sizeof(T) <= kPayload);
    merge_bytes(std::as_writable_bytes(std::span(&value, 1)), &Communicator::merge_elements<T, merge>, deadlines);
  }

  // The leader continues when all members have called; what they wrote to shared memory before is then visible to it.
  virtual void arrive() = 0;
  // The members continue when the leader has called.
  virtual void release() = 0;

  // Element-wise sum over the leaders but rank 0, on rank 0; called by leaders. Long sums go a block at a time: what
  // send_sum() was given is its own until its next call returns, or finish_sum() after the last, so that one block
  // travels while the next is made.
  virtual void send_sum(std::span<std::int64_t> block) = 0;  // by all but rank 0
  virtual void finish_sum() = 0;
  virtual void receive_sum(std::span<std::int64_t> block) = 0;  // by rank 0

  // Runs `work`, which makes no call to the others, on all ranks together; an Error of one is a CollectiveError of all.
  virtual void collectively(const std::function<void()>& work) = 0;

  // The memory that this node's members share; null where a rank is alone.
  virtual NodeMemory* memory() { return nullptr; }

  // On rank 0: the bytes of vectors that ranks have handed to MPI since this was last asked, for the cluster and for
  // the communicator that it is made of. Structs, which are small, are not counted, nor is what a node shares.
  virtual Traffic take_traffic() = 0;

  // Whether the run continues without a rank that is lost.
  virtual bool survives() const = 0;
  // On rank 0: the ranks that have been lost, in the order of their loss. A sum that was on its way when a rank was
  // lost is wrong.
  std::size_t lost() const { return lost_.size(); }
  int lost(std::size_t i) const { return lost_[i]; }
  // What all do together before them needs all ranks: a lifeline that expects signs of life finds those that hang. From
  // now on rank 0 finds out by itself which rank does not answer, and with `survive` the death of a participant no
  // longer ends the run.
  virtual void rounds_begin() {}
  // Without `survive` all is as before them.
  virtual void rounds_end() {}
  // On rank 0, before the end: a rank that has died since it last had something to say is lost too.
  virtual void look_for_lost() {}
  // On all ranks that know of the loss, at the end: nothing collective follows, MPI is not finalised. When the session
  // is over, rank 0 ends the job with that code if a lost rank may still run, or `others_wait`: some do not know.
  virtual void abandon_lost(int /*exit_code*/, bool /*others_wait*/) {}

  static constexpr std::size_t kPayload = 1024;  // bytes of the largest struct that travels

 protected:
  struct Seat {
    bool root = true;
    int member = 0, members = 1, nodes = 1, cores = 1;
  };

  Cluster() = default;
  virtual void broadcast_bytes(std::span<std::byte> value, std::span<float> vector) = 0;
  // `merge` as MPI asks for it, with one element and no type.
  virtual void merge_bytes(std::span<std::byte> value, MPI_User_function* merge, int deadlines) = 0;

  Seat seat_;
  std::vector<int> lost_;  // on rank 0
};

// On all ranks together. Without `shared_memory`, or with `survive`, every rank is a node of its own. `comm` has to
// live longer.
std::unique_ptr<Cluster> make_cluster(Communicator& comm, bool shared_memory, const Patience& patience = {});
// With these ranks of `comm` as this rank's node, which must share memory; null: it alone.
std::unique_ptr<Cluster> make_cluster(Communicator& comm, std::unique_ptr<Communicator> node,
                                      const Patience& patience = {});

}  // namespace fedmpi::mpi
