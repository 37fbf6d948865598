// Locks for the blocks of a sum that threads add to, so that they rarely meet.
#pragma once

#include <algorithm>
#include <cstddef>
#include <mutex>
#include <vector>

namespace fedmpi::aggregate {

class BlockLocks {
 public:
  explicit BlockLocks(std::size_t size) : size_(size), blocks_((size + kBlock - 1) / kBlock) {}

  // Forgets what has begun. No thread may be in for_each().
  void reset() {
    for (Block& b : blocks_) b.begun = false;
  }

  // Calls add(first, n, begun) for each block, elements first … first + n - 1, while it is locked; the first to come
  // to a block since reset() finds it not begun, and sets what the others add to.
  template <class Add>
  void for_each(Add add) {
    for (std::size_t b = 0; b < blocks_.size(); ++b) {
      const std::lock_guard lock(blocks_[b].mutex);
      add(b * kBlock, std::min(kBlock, size_ - b * kBlock), blocks_[b].begun);
      blocks_[b].begun = true;
    }
  }

 private:
  static constexpr std::size_t kBlock = std::size_t{1} << 14;
  struct Block {
    std::mutex mutex;
    bool begun = false;
  };
  std::size_t size_;
  std::vector<Block> blocks_;
};

}  // namespace fedmpi::aggregate
