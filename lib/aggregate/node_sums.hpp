// What the ranks of one node have trained, in memory that they share. Each thread's last update stays a float vector;
// those before it are encoded into a sum when their room is needed again: one for each thread, since threads that share
// one drag it from core to core; fewer of long vectors, of which they rarely want the same part at once. So a
// participant with one client a round never holds a 64-bit vector, and at the end the leader, or each member for a
// slice of the coordinates, adds up straight from where the updates lie.
#pragma once

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <deque>
#include <span>
#include <vector>

#include "aggregate/block_locks.hpp"
#include "mpi/cluster.hpp"
#include "mpi/shared_memory.hpp"
#include "secure/ring.hpp"

namespace fedmpi::aggregate {

class NodeSums {
 public:
  static constexpr std::size_t kTile = std::size_t{1} << 10;  // coordinates summed at once: 8 KiB, in the first cache

  // On all ranks together, for vectors of `parameters` elements and so many training threads on this rank.
  NodeSums(std::size_t parameters, mpi::Cluster& cluster, std::size_t threads);

  // See Exchange.
  void begin();
  std::span<float> room(std::size_t thread);
  void take(std::size_t thread, double weight, float largest);
  void set_exponent(int exponent) { exponent_ = exponent; }
  int exponent() const { return exponent_; }
  bool encoded() const { return mine().any_sum(); }
  // Bytes that a rank comes to hold in sums for so many clients in a round.
  static std::size_t memory(std::size_t parameters, std::size_t threads, std::size_t clients);

  // What follows is for when all members have handed over.

  // The node's sum of coordinates first … first + sum.size() - 1.
  void add_up(std::size_t first, std::span<std::int64_t> sum) const;

  // How many members share the work on n coordinates; for this member's slice calls work(begin, n) tile by tile.
  std::size_t slices_of(std::size_t n) const;
  template <class Work>
  void in_slices(std::size_t n, Work work) const {
    const std::size_t slices = slices_of(n), slice = static_cast<std::size_t>(cluster_.member());
    if (slice >= slices) return;
    const std::size_t end = std::min(n, up_to_line(n * (slice + 1) / slices));
    for (std::size_t begin = up_to_line(n * slice / slices); begin < end; begin += kTile)
      work(begin, std::min(kTile, end - begin));
  }

 private:
  // What a rank tells its node about its updates: two numbers for each of its threads.
  struct Shares {
    std::span<double> of;

    std::size_t threads() const { return of.size() / 2; }
    double& room(std::size_t thread) const { return of[thread]; }   // the weight of the update there, 0 without one
    double& sum(std::size_t i) const { return of[threads() + i]; }  // 1 if it holds something
    bool any_sum() const;
  };

  static std::size_t up_to_line(std::size_t n) { return (n + 15) / 16 * 16; }  // floats in 64 bytes
  static std::size_t sums_for(std::size_t threads, std::size_t parameters);
  Shares mine() const { return {shares_.mine()}; }
  std::span<float> room_of(int member, std::size_t thread) const;
  std::span<std::int64_t> sum_of(int member, std::size_t i) const;
  void encode(std::span<const float> update, double weight, float largest, std::size_t sum);

  mpi::Cluster& cluster_;
  std::size_t parameters_, stride_;  // stride_: of the rooms and of the sums
  std::size_t threads_of_all_ = 0;   // of the members together
  std::vector<float> largest_;       // magnitude of the update in each room
  mpi::Shared<float> rooms_;         // one for each thread
  mpi::Shared<std::int64_t> sums_;
  mpi::Shared<double> shares_;
  std::deque<BlockLocks> blocks_;  // of each of this rank's sums
  int exponent_ = secure::kFirstExponent;
};

}  // namespace fedmpi::aggregate
