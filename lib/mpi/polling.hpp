// Waiting for MPI, which has to be asked again and again, without burning a core.
#pragma once

#include <sched.h>

#include <algorithm>
#include <chrono>
#include <thread>

namespace fedmpi::mpi {

class Polling {
 public:
  double seconds() const { return std::chrono::duration<double>(waited()).count(); }

  // Gives the core away for a fiftieth of the time waited so far, at most a millisecond, so that waiting is over at
  // most 2 % late.
  void pause() const {
    const auto time = std::min<Clock::duration>(waited() / 50, std::chrono::milliseconds(1));
    if (time > std::chrono::microseconds(20))
      std::this_thread::sleep_for(time);
    else
      sched_yield();
  }

 private:
  using Clock = std::chrono::steady_clock;
  Clock::duration waited() const { return Clock::now() - start_; }
  Clock::time_point start_ = Clock::now();
};

}  // namespace fedmpi::mpi
