// Running a command on all ranks, with the error policy of the program.
#pragma once

#include <functional>

#include "mpi/communicator.hpp"

namespace fedmpi::app {

// Whether a command's words ask for help, which needs no MPI.
bool asks_for_help(int argc, char** argv);

// Starts MPI and on every rank calls `prepare`, which makes no MPI call, and when all have done so `command`; returns
// the exit code. An error that all ranks agree on is printed by rank 0 and ends all of them in good order. An error of
// one rank alone is printed with its number and takes the whole job down with its exit code, since the others may be
// waiting for this rank. Rank 0 also writes its exit code into the file that FEDMPI_EXIT_FILE names.
int run_parallel(int argc, char** argv, const std::function<void(const mpi::Communicator&)>& prepare,
                 const std::function<int(mpi::Communicator&)>& command);

}  // namespace fedmpi::app
