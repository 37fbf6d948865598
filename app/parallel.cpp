#include "parallel.hpp"

#include <fmt/format.h>

#include <cstdio>
#include <exception>

#include "mpi/collective_error.hpp"
#include "mpi/session.hpp"

namespace fedmpi::app {

int run_parallel(int argc, char** argv, const std::function<int(mpi::Communicator&)>& command) {
  mpi::Session session(argc, argv);
  const int rank = session.world().rank();
  try {
    return command(session.world());
  } catch (const mpi::CollectiveError& error) {
    if (rank == 0) fmt::print(stderr, "fedmpi: {}\n", error.what());
    return static_cast<int>(error.code());
  } catch (const Error& error) {
    fmt::print(stderr, "fedmpi: rank {}: {}\n", rank, error.what());
    session.abort(static_cast<int>(error.code()));
  } catch (const std::exception& error) {
    fmt::print(stderr, "fedmpi: rank {}: a bug, please report it: {}\n", rank, error.what());
    session.abort(static_cast<int>(ExitCode::bug));
  }
}

}  // namespace fedmpi::app
