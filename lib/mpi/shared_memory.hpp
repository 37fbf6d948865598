// Memory that the members of a node share: every member has a segment, and all read and write all of them in place.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <vector>

#include "mpi/cluster.hpp"

namespace fedmpi::mpi {

// Segments begin at a multiple of 64 bytes. A page that nobody has touched costs nothing.
class SharedMemory {
 public:
  // On all ranks of the cluster together; made and destroyed in the same order on all. Error(io) on all when a node has
  // not enough, all that its members have been given before taken for touched.
  SharedMemory(Cluster& cluster, std::size_t bytes);
  ~SharedMemory();
  SharedMemory(const SharedMemory&) = delete;
  SharedMemory& operator=(const SharedMemory&) = delete;

  // Bytes that the ranks of this node may share now. MPI keeps them in files; what these cannot hold is found when it
  // is touched, and kills.
  static std::uint64_t free();

  std::span<std::byte> segment(int member) const { return segments_[static_cast<std::size_t>(member)]; }

 private:
  static void take_room(Cluster& cluster, std::size_t bytes);

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
