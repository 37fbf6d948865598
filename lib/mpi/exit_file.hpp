// For scripts, to which not every launcher passes exit codes on.
#pragma once

namespace fedmpi::mpi {

// Rank 0 leaves its exit code in the file that FEDMPI_EXIT_FILE names, if it names one; other ranks leave nothing.
void leave_exit_code(int rank, int exit_code);

}  // namespace fedmpi::mpi
