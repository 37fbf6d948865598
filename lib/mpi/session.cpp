#include "mpi/session.hpp"

#include <cstdlib>
#include <exception>

#include "base/error.hpp"

namespace fedmpi::mpi {

Session::Library::Library(int& argc, char**& argv) : exceptions(std::uncaught_exceptions()) {
  int provided = 0;
  if (MPI_Init_thread(&argc, &argv, MPI_THREAD_FUNNELED, &provided) != MPI_SUCCESS || provided < MPI_THREAD_FUNNELED)
    fail(ExitCode::bug, "MPI cannot be initialised with threads (MPI_THREAD_FUNNELED)");
}

Session::Library::~Library() {
  if (std::uncaught_exceptions() == exceptions) MPI_Finalize();
}

Session::Session(int& argc, char**& argv) : library_(argc, argv), world_(MPI_COMM_WORLD) {}
Session::~Session() = default;

void Session::abort(int exit_code) {
  MPI_Abort(MPI_COMM_WORLD, exit_code);
  std::_Exit(exit_code);
}

}  // namespace fedmpi::mpi
