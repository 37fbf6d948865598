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
#include "secure/coder.hpp"
#include "secure/scale.hpp"

namespace fedmpi::aggregate {

class NodeSums {
 public:
  static constexpr std::size_t kTile = std::size_t{1} << 10;  // numbers summed at once: 8 KiB, in the first cache

  // On all ranks together, for messages of that layout and so many training threads on this rank.
  NodeSums(const Layout& message, mpi::Cluster& cluster, std::size_t threads);

  // See Exchange.
  void begin();
  std::span<float> room(std::size_t thread);
  void take(std::size_t thread, double weight, const secure::Largest& largest);
  void set_scale(const secure::Scale& scale) { scale_ = scale; }
  const secure::Scale& scale() const { return scale_; }
  const secure::Coder& coder() const { return coder_; }
  bool encoded() const { return mine().any_sum(); }
  // Bytes that a rank comes to hold in sums for so many clients in a round.
  static std::size_t memory(std::size_t numbers, std::size_t threads, std::size_t clients);

  // What follows is for when all members have handed over.

  // The node's sum of numbers first … first + sum.size() - 1.
  void add_up(std::size_t first, std::span<std::int64_t> sum) const;

  // How many members share the work on n numbers; for this member's slice calls work(begin, n) tile by tile.
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
    double& room(std::size_t thread) const { return of[thread]; }   // the weight of the message there, 0 without one
    double& sum(std::size_t i) const { return of[threads() + i]; }  // 1 if it holds something
    bool any_sum() const;
  };

  static std::size_t up_to_line(std::size_t n) { return (n + 15) / 16 * 16; }  // floats in 64 bytes
  static std::size_t sums_for(std::size_t threads, std::size_t numbers);
  Shares mine() const { return {shares_.mine()}; }
  std::span<float> room_of(int member, std::size_t thread) const;
  std::span<std::int64_t> sum_of(int member, std::size_t i) const;
  void encode(std::span<const float> message, double weight, const secure::Largest& largest, std::size_t sum);

  mpi::Cluster& cluster_;
  secure::Coder coder_;
  std::size_t room_stride_, sum_stride_;
  std::size_t threads_of_all_ = 0;        // of the members together
  std::vector<secure::Largest> largest_;  // of the message in each room
  mpi::Shared<float> rooms_;              // one for each thread
  mpi::Shared<std::int64_t> sums_;
  mpi::Shared<double> shares_;
  std::deque<BlockLocks> blocks_;  // of each of this rank's sums
  secure::Scale scale_;
};

}  // namespace fedmpi::aggregate
