// Finds out which ranks keep the others waiting. When rank 0 has waited for longer than the deadline, it calls all
// ranks. One that waits too, for whomever, answers; one that has died, stalls or still computes does not.
#pragma once

#include <mpi.h>

#include "mpi/communicator.hpp"
#include "mpi/polling.hpp"

namespace fedmpi::mpi {

class RollCall {
 public:
  struct Times {          // in seconds
    double deadline;      // above 0
    double answer = 1.0;  // at most, for a rank to answer: one that waits looks for a call many times a second
  };

  RollCall(const Communicator& comm, Times times);  // on all ranks together
  ~RollCall();
  RollCall(const RollCall&) = delete;
  RollCall& operator=(const RollCall&) = delete;

  // For a rank to call again and again while it waits. On rank 0 an Error(stopped) names those who do not answer; when
  // all do, `waiting` begins anew.
  void meanwhile(Polling& waiting);

 private:
  enum Tag : int { kCall, kHere };
  void answer();
  void call(Polling& waiting);

  Communicator comm_;
  Times times_;
  MPI_Request called_ = MPI_REQUEST_NULL;
};

}  // namespace fedmpi::mpi
