// A process as the other processes of a job know it.
#pragma once

#include <array>
#include <cstdint>

namespace fedmpi::mpi {

// Plain, so that it can be sent. A number of a process means something only to those that count alike: on one machine
// since it was started, and in one container. Names of hosts do not say that: many containers share one.
struct Process {
  std::array<char, 40> boot{};          // the random id of this start of the machine; empty if it cannot be read
  std::uint64_t device = 0, space = 0;  // the namespace in which processes are numbered
  std::int64_t number = 0;
  std::uint64_t started = 0;  // by the kernel's clock; numbers are used again

  static Process self();
  // Whether the other's number means the same process to both.
  bool counts_like(const Process& other) const;
};

// Kills that process if it is another one, this process counts like it, and it still runs; false if they do not count
// alike, so that it may run on.
bool kill_if_in_reach(const Process& process);

}  // namespace fedmpi::mpi
