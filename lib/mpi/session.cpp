#include "mpi/session.hpp"

#include <unistd.h>

#include <algorithm>
#include <csignal>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <exception>
#include <string_view>

#include "base/environment.hpp"
#include "base/error.hpp"
#include "mpi/exit_file.hpp"

#ifdef __GLIBC__
#include <malloc.h>
#endif

namespace fedmpi::mpi {

namespace {

// If this lives longer than so many seconds the process leaves with that code, after some last words: MPI is waited
// for, which waits for all ranks, and one may have died or stand still. No launcher ends the others that is to live
// with dead ranks.
class TimeLimit {
 public:
  TimeLimit(std::int64_t seconds, int exit_code, std::string_view last_words) {
    code_ = exit_code;
    words_ = last_words.data();
    length_ = static_cast<std::sig_atomic_t>(last_words.size());
    std::signal(SIGALRM, [](int) {
      [[maybe_unused]] const auto written = write(STDERR_FILENO, words_, static_cast<std::size_t>(length_));
      std::_Exit(code_);
    });
    alarm(static_cast<unsigned>(std::clamp<std::int64_t>(seconds, 1, 86'400)));
  }
  ~TimeLimit() {
    alarm(0);
    std::signal(SIGALRM, SIG_DFL);
  }
  TimeLimit(const TimeLimit&) = delete;
  TimeLimit& operator=(const TimeLimit&) = delete;

 private:
  static inline volatile std::sig_atomic_t code_, length_;
  static inline const char* volatile words_;
};

class Start : TimeLimit {
 public:
  Start()
      : TimeLimit(environment_number("FEDMPI_START_SECONDS").value_or(600), static_cast<int>(ExitCode::stopped),
                  "fedmpi: MPI has not started in time (FEDMPI_START_SECONDS): a rank is missing\n") {}
};

// Ends all ranks. Where several abort at once PMIx may leave one of them waiting for ever (open-mpi/ompi#3225).
[[noreturn]] void end_all(int exit_code) {
  const TimeLimit limit(5, exit_code, "");
  MPI_Abort(MPI_COMM_WORLD, exit_code);
  std::_Exit(exit_code);
}

}  // namespace

Session::Library::Library(int& argc, char**& argv) : exceptions(std::uncaught_exceptions()) {
#ifdef __GLIBC__
  // MPI's collectives allocate room for every call. Kept, and not given back to the system and faulted in again, it
  // makes them up to three times as fast.
  mallopt(M_MMAP_THRESHOLD, 16 << 20);
  mallopt(M_TRIM_THRESHOLD, 64 << 20);
#endif
  const Start start;
  int provided = 0;
  if (MPI_Init_thread(&argc, &argv, MPI_THREAD_FUNNELED, &provided) != MPI_SUCCESS || provided < MPI_THREAD_FUNNELED)
    fail(ExitCode::bug, "MPI cannot be initialised with threads (MPI_THREAD_FUNNELED)");
}

Session::Library::~Library() {
  if (std::uncaught_exceptions() != exceptions) return;
  if (!abandoned) {
    const TimeLimit limit(environment_number("FEDMPI_END_SECONDS").value_or(60), exit_code,
                          "fedmpi: MPI has not ended in time (FEDMPI_END_SECONDS): a rank stands still\n");
    MPI_Finalize();
  }
  lifeline->take_leave();
}

Session::Session(int& argc, char**& argv) : library_(argc, argv), world_(MPI_COMM_WORLD) {
  const Start start;
  library_.lifeline = std::make_unique<Lifeline>(world_);
  world_.set_lifeline(library_.lifeline.get());
}

void Session::ends_with(int exit_code) {
  library_.exit_code = exit_code;
  leave_exit_code(world_.rank(), exit_code);
}

Session::~Session() {
  library_.abandoned = world_.abandoned();
  if (!world_.end_job_with()) return;
  std::fflush(nullptr);
  library_.lifeline->dismiss(*world_.end_job_with());  // a launcher that is to live with dead ranks may end nobody
  end_all(*world_.end_job_with());
}

void Session::abort(int exit_code) {
  if (!world_.abandoned()) end_all(exit_code);
  std::_Exit(exit_code);
}

}  // namespace fedmpi::mpi
