// What a run hands to MPI.
#pragma once

#include <cstdint>

namespace fedmpi::mpi {

// Bytes of vectors: a broadcast of n bytes to k ranks is n·k down, each message or contribution to a sum that another
// rank sends towards rank 0 is its own length up. How MPI routes them is its own affair.
struct Traffic {
  std::uint64_t down = 0, up = 0;

  Traffic& operator+=(const Traffic& more) {
    down += more.down;
    up += more.up;
    return *this;
  }
  bool operator==(const Traffic&) const = default;
};

}  // namespace fedmpi::mpi
