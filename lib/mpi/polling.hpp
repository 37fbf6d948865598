// Waiting for MPI, which has to be asked again and again, without burning a core.
#pragma once

#include <sched.h>

#include <algorithm>
#include <chrono>
#include <thread>
#include <utility>

namespace fedmpi::mpi {

class Polling {
 public:
  // The time waited so far, as this process has seen it: of a time in which it did not ask, being suspended itself, a
  // tenth of a second counts, since the others may have been suspended with it.
  double seconds() { return std::chrono::duration<double>(waited()).count(); }

  // Gives the core away for a fiftieth of the time waited so far, at most a millisecond, so that waiting is over at
  // most 2 % late.
  void pause() {
    const auto time = std::min<Clock::duration>(waited() / 50, std::chrono::milliseconds(1));
    if (time > std::chrono::microseconds(20))
      std::this_thread::sleep_for(time);
    else
      sched_yield();
  }

 private:
  using Clock = std::chrono::steady_clock;
  Clock::duration waited() {
    const Clock::time_point now = Clock::now();
    return waited_ += std::min<Clock::duration>(now - std::exchange(last_, now), std::chrono::milliseconds(100));
  }
  Clock::time_point last_ = Clock::now();
  Clock::duration waited_{};
};

}  // namespace fedmpi::mpi
