#include "parallel.hpp"

#include <fmt/format.h>

#include <exception>

#include "hdf5/probe.hpp"
#include "mpi/collective_error.hpp"
#include "mpi/exit_file.hpp"
#include "mpi/session.hpp"
#include "progress.hpp"

namespace fedmpi::app {

int run_parallel(int argc, char** argv, const std::function<int(mpi::Communicator&)>& command) {
  hdf5::start_probing();
  mpi::Session session(argc, argv);
  const int rank = session.world().rank();
  const auto leaving_with = [rank](int code) {
    mpi::leave_exit_code(rank, code);
    return code;
  };
  try {
    return leaving_with(command(session.world()));
  } catch (const mpi::CollectiveError& error) {
    if (rank == 0) print_error(error.what());
    return leaving_with(static_cast<int>(error.code()));
  } catch (const Error& error) {
    print_error(fmt::format("rank {}: {}", rank, error.what()));
    session.abort(leaving_with(static_cast<int>(error.code())));
  } catch (const std::exception& error) {
    print_error(fmt::format("rank {}: a bug, please report it: {}", rank, error.what()));
    session.abort(leaving_with(static_cast<int>(ExitCode::bug)));
  }
}

}  // namespace fedmpi::app
