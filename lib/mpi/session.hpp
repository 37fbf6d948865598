// MPI from start to end of the program.
#pragma once

#include <cstdint>
#include <memory>
#include <optional>

#include "mpi/communicator.hpp"
#include "mpi/ending.hpp"
#include "mpi/lifeline.hpp"

namespace fedmpi::mpi {

// Initialises MPI for calls from the main thread and finalises it. (A lifeline that ends all ranks calls it too.) While
// an exception leaves the program MPI is not finalised: the other ranks may stand in a collective that would then never
// end. Whoever catches it aborts. Once it is made every rank watches rank 0, which watches all: see Lifeline.
class Session {
 public:
  Session(int& argc, char**& argv);
  ~Session();
  Session(const Session&) = delete;
  Session& operator=(const Session&) = delete;

  Communicator& world() { return world_; }
  // What this process is about to end with: for the batch script too (leave_exit_code), and should MPI not end because
  // a rank stands still, which is waited for so many seconds: FEDMPI_END_SECONDS, 60 unless set.
  void ends_with(int exit_code);
  [[noreturn]] void abort(int exit_code);  // ends all ranks at once, or this one where the others go on without it

 private:
  std::optional<StartLimit> start_;  // while it is made
  struct Library {                   // initialised before the communicator is made, finalised after it is freed
    Library(int& argc, char**& argv);
    ~Library();
    std::int64_t seconds_to_end;
    int exceptions;
    bool abandoned = false;
    int exit_code = 0;
    std::unique_ptr<Lifeline> lifeline;
  } library_;
  Communicator world_;
};

}  // namespace fedmpi::mpi
