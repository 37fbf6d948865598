#include "parallel.hpp"

#include <fmt/format.h>

#include <exception>

#include "hdf5/probe.hpp"
#include "mpi/collective_error.hpp"
#include "mpi/session.hpp"
#include "progress.hpp"

namespace fedmpi::app {

int run_parallel(int argc, char** argv, const std::function<int(mpi::Communicator&)>& command) {
  hdf5::start_probing();
  mpi::Session session(argc, argv);
  const int rank = session.world().rank();
  try {
    return command(session.world());
  } catch (const mpi::CollectiveError& error) {
    if (rank == 0) print_error(error.what());
    return static_cast<int>(error.code());
  } catch (const Error& error) {
    print_error(fmt::format("rank {}: {}", rank, error.what()));
    session.abort(static_cast<int>(error.code()));
  } catch (const std::exception& error) {
    print_error(fmt::format("rank {}: a bug, please report it: {}", rank, error.what()));
    session.abort(static_cast<int>(ExitCode::bug));
  }
}

}  // namespace fedmpi::app
