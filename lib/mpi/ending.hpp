// How a process ends that MPI would keep.
#pragma once

#include <cstdint>
#include <string_view>

namespace fedmpi::mpi {

// If this lives longer than so many seconds the process leaves with that code, after some last words (a literal): MPI
// is waited for, which waits for all ranks, and one may have died or stand still. No launcher ends the others that is
// to live with dead ranks. At most one at a time; a second takes its place.
class TimeLimit {
 public:
  // With `leaves_code` the process leaves that code for scripts, too, as rank 0 does: see below.
  TimeLimit(std::int64_t seconds, int exit_code, std::string_view last_words, bool leaves_code = false);
  ~TimeLimit();
  TimeLimit(const TimeLimit&) = delete;
  TimeLimit& operator=(const TimeLimit&) = delete;
};

// For what all ranks do together before anything else, in which one may be missing: FEDMPI_START_SECONDS, 600 unless
// set; then ExitCode::stopped.
class StartLimit : TimeLimit {
 public:
  StartLimit();
};

// Rank 0 leaves its exit code in the file that FEDMPI_EXIT_FILE names, if it names one, for scripts: not every launcher
// passes exit codes on. A second line says why, where ranks that are lost or stand still have ended the job, else it is
// empty. Other ranks leave nothing, unless MPI has not started in time.
void leave_exit_code(int rank, int exit_code, std::string_view why = "");
// On rank 0, at the start: empties that file, in which an earlier run may have left its code. Error(cannot_create).
void empty_exit_file();

// Ends all ranks, wherever they stand, and this one in five seconds at the latest. From any thread, although MPI is not
// initialised for that: what matters is that the others end.
[[noreturn]] void end_all(int exit_code);

}  // namespace fedmpi::mpi
