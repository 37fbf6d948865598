// How processes that share memory wake one another: a counter that one of them rings and others wait for.
#pragma once

#include <atomic>
#include <chrono>
#include <cstdint>

namespace fedmpi::mpi {

// Lives in zeroed shared memory. What was written before ring() is visible after the wait that it ends.
class Doorbell {
 public:
  using Time = std::chrono::steady_clock::time_point;

  void ring();
  // Until it has rung `count` times in all: looks as often as told, then gives its core away, then sleeps in the
  // kernel and costs nothing. False if that did not happen before `deadline`.
  bool wait(std::uint32_t count, int looks, Time deadline = Time::max());

 private:
  bool rung(std::uint32_t count) const;

  std::atomic<std::uint32_t> rings_, sleepers_;
};

static_assert(std::atomic<std::uint32_t>::is_always_lock_free);

}  // namespace fedmpi::mpi
