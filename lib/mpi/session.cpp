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

#ifdef __GLIBC__
#include <malloc.h>
#endif

namespace fedmpi::mpi {

namespace {

// While this lives the ranks are starting. One that dies or stands still then keeps the others waiting in MPI, and no
// launcher ends them that is to live with dead ranks.
class Start {
 public:
  Start() {
    const auto seconds = environment_number("FEDMPI_START_SECONDS").value_or(600);
    std::signal(SIGALRM, [](int) {
      constexpr std::string_view text =
          "fedmpi: MPI has not started in time (FEDMPI_START_SECONDS): a rank is missing\n";
      [[maybe_unused]] const auto written = write(STDERR_FILENO, text.data(), text.size());
      std::_Exit(static_cast<int>(ExitCode::stopped));
    });
    alarm(static_cast<unsigned>(std::clamp<std::int64_t>(seconds, 1, 86'400)));
  }
  ~Start() {
    alarm(0);
    std::signal(SIGALRM, SIG_DFL);
  }
  Start(const Start&) = delete;
  Start& operator=(const Start&) = delete;
};

// Ends all ranks. Where several abort at once PMIx may leave one of them waiting for ever (open-mpi/ompi#3225): after
// some seconds it leaves by itself.
[[noreturn]] void end_all(int exit_code) {
  constexpr unsigned kSeconds = 5;
  static volatile std::sig_atomic_t code;
  code = exit_code;
  std::signal(SIGALRM, [](int) { std::_Exit(code); });
  alarm(kSeconds);
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
  if (!abandoned) MPI_Finalize();
  lifeline->take_leave();
}

Session::Session(int& argc, char**& argv) : library_(argc, argv), world_(MPI_COMM_WORLD) {
  const Start start;
  library_.lifeline = std::make_unique<Lifeline>(world_);
  world_.set_lifeline(library_.lifeline.get());
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
