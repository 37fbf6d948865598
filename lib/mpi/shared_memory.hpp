// Memory that the members of a node share: every member has a segment, and all read and write all of them in place.
#pragma once

#include <mpi.h>

#include <cstddef>
#include <cstdint>
#include <memory>
#include <span>
#include <vector>

#include "mpi/cluster.hpp"
#include "mpi/communicator.hpp"

namespace fedmpi::mpi {

// The members of a node, and how much memory they may share and have been given.
class NodeMemory {
 public:
  explicit NodeMemory(std::unique_ptr<Communicator> members);  // on all of them together

  Communicator& members() { return *members_; }
  // What it takes from the node to give `mine` bytes to this member, and to the others what they ask for; by all.
  std::uint64_t needed_for(std::size_t mine);
  // On the leader: gives them so much; Error(io) when the node has not enough, all that they have been given before
  // taken for touched.
  void take(std::uint64_t bytes);

 private:
  std::unique_ptr<Communicator> members_;
  std::uint64_t room_ = 0, taken_ = 0;  // on the leader
};

// Segments begin at a multiple of 64 bytes. A page that nobody has touched costs nothing.
class SharedMemory {
 public:
  // On all ranks of the cluster together; made and destroyed in the same order on all. Where a rank is alone on its
  // node it is plain memory. Error(io) on all when a node has not enough.
  SharedMemory(Cluster& cluster, std::size_t bytes);
  ~SharedMemory();
  SharedMemory(const SharedMemory&) = delete;
  SharedMemory& operator=(const SharedMemory&) = delete;

  std::span<std::byte> segment(int member) const { return segments_[static_cast<std::size_t>(member)]; }

 private:
  void share(Communicator& members, std::size_t bytes);

  MPI_Win window_ = MPI_WIN_NULL;  // none where the node has one member
  std::vector<std::span<std::byte>> segments_;
};

// The same as elements of a plain type; what they are at first is not said.
template <class T>
class Shared {
 public:
  Shared(Cluster& cluster, std::size_t size) : memory_(cluster, size * sizeof(T)), member_(cluster.member()) {}

  std::span<T> of(int member) const {
    const std::span<std::byte> bytes = memory_.segment(member);
    return {reinterpret_cast<T*>(bytes.data()), bytes.size() / sizeof(T)};
  }
  std::span<T> mine() const { return of(member_); }

 private:
  SharedMemory memory_;
  int member_;
};

}  // namespace fedmpi::mpi
