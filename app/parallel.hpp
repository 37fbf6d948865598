// Running a command on all ranks, with the error policy of the program.
#pragma once

#include <functional>

#include "mpi/communicator.hpp"

namespace fedmpi::app {

// Starts MPI and calls `command` on every rank; returns the exit code. An error that all ranks agree on is
// printed by rank 0 and ends all of them in good order. An error of one rank alone is printed with its number
// and takes the whole job down with its exit code, since the others may be waiting for this rank. Rank 0 also writes
// its exit code into the file that FEDMPI_EXIT_FILE names.
int run_parallel(int argc, char** argv, const std::function<int(mpi::Communicator&)>& command);

}  // namespace fedmpi::app
