#include "mpi/session.hpp"

#include <cstdio>
#include <cstdlib>
#include <exception>
#include <memory>
#include <optional>

#include "base/environment.hpp"
#include "base/error.hpp"
#include "mpi/ending.hpp"

#ifdef __GLIBC__
#include <malloc.h>
#endif

namespace fedmpi::mpi {

namespace {

void prepare_own_process() {
#ifdef __GLIBC__
  // MPI's collectives allocate room for every call. Kept, and not given back to the system and faulted in again, it
  // makes them up to three times as fast.
  mallopt(M_MMAP_THRESHOLD, 16 << 20);
  mallopt(M_TRIM_THRESHOLD, 64 << 20);
#endif
#if defined(OPEN_MPI) && OMPI_MAJOR_VERSION >= 5
  // A process that no launcher has started is alone, and would leave behind a file of the memory that it shares.
  if (std::getenv("PMIX_NAMESPACE") == nullptr) setenv("OMPI_MCA_btl", "self", 1);
#endif
}

}  // namespace

Session::Library::Library(int& argc, char**& argv, Policy session_policy)
    : policy(session_policy),
      seconds_to_end(environment_number("FEDMPI_END_SECONDS").value_or(60)),
      exceptions(std::uncaught_exceptions()) {
  if (policy.owns_process) prepare_own_process();
  int provided = 0;
  if (MPI_Init_thread(&argc, &argv, MPI_THREAD_FUNNELED, &provided) != MPI_SUCCESS || provided < MPI_THREAD_FUNNELED)
    fail(ExitCode::bug, "MPI cannot be initialised with threads (MPI_THREAD_FUNNELED)");
}

Session::Library::~Library() {
  if (std::uncaught_exceptions() != exceptions) return;
  if (!abandoned) {
    std::optional<TimeLimit> limit;
    if (lifeline) lifeline->expect_signs_of_life(false);
    if (policy.owns_process)
      limit.emplace(seconds_to_end, exit_code,
                    "fedmpi: MPI has not ended in time (FEDMPI_END_SECONDS): a rank hangs\n");
    MPI_Finalize();
  }
  if (lifeline) lifeline->take_leave();
}

Session::Session(int& argc, char**& argv, Policy policy)
    : start_(policy.owns_process ? std::make_unique<StartLimit>() : nullptr),
      library_(argc, argv, policy),
      world_(MPI_COMM_WORLD) {
  if (policy.owns_process) library_.lifeline = std::make_unique<Lifeline>(world_);
  world_.set_lifeline(library_.lifeline.get());
  start_.reset();
}

void Session::ends_with(int exit_code) {
  library_.exit_code = exit_code;
  leave_exit_code(world_.rank(), exit_code);
}

Session::~Session() {
  library_.abandoned = world_.abandoned();
  if (!world_.end_job_with()) return;
  std::fflush(nullptr);
  if (library_.lifeline)
    library_.lifeline->dismiss(*world_.end_job_with());  // a launcher that is to live with dead ranks may end nobody
  end_all(*world_.end_job_with());
}

void Session::abort(int exit_code) {
  if (!world_.abandoned()) end_all(exit_code);
  std::_Exit(exit_code);
}

}  // namespace fedmpi::mpi
