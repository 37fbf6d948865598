// MPI from start to end of the program.
#pragma once

#include <cstdint>
#include <memory>

#include "mpi/communicator.hpp"
#include "mpi/ending.hpp"
#include "mpi/lifeline.hpp"

namespace fedmpi::mpi {

// Whose the process is.
struct Policy {
  // False, for a program that trains in process: its signal handlers, limits, environment and allocator stay as they
  // are, and nothing ends it but MPI itself; a rank that is gone is a matter of MPI and the launcher. True: the process
  // is the session's. It ends when MPI does not start or end in time (SIGALRM), or by way of a Lifeline when other
  // ranks are gone; it raises its limit of open files for that; it kills ranks that are lost (federation.survive); and
  // its allocator is set to what makes MPI fast.
  bool owns_process = false;
};

// Initialises MPI for calls from the main thread and finalises it. (A lifeline that ends all ranks calls it too.) While
// an exception leaves the program MPI is not finalised: the other ranks may stand in a collective that would then never
// end. Whoever catches it aborts. If the process is its own, once it is made every rank watches rank 0, which watches
// all: see Lifeline.
class Session {
 public:
  Session(int& argc, char**& argv, Policy policy = {});
  ~Session();
  Session(const Session&) = delete;
  Session& operator=(const Session&) = delete;

  Communicator& world() { return world_; }
  // What this process is about to end with: for the batch script too (leave_exit_code), and should MPI not end because
  // a rank hangs, which is waited for so many seconds: FEDMPI_END_SECONDS, 60 unless set.
  void ends_with(int exit_code);
  [[noreturn]] void abort(int exit_code);  // ends all ranks at once, or this one where the others go on without it

 private:
  std::unique_ptr<StartLimit> start_;  // while it is made
  struct Library {                     // initialised before the communicator is made, finalised after it is freed
    Library(int& argc, char**& argv, Policy policy);
    ~Library();
    Policy policy;
    std::int64_t seconds_to_end;
    int exceptions;
    bool abandoned = false;
    int exit_code = 0;
    std::unique_ptr<Lifeline> lifeline;  // if the process is the session's
  } library_;
  Communicator world_;
};

}  // namespace fedmpi::mpi
