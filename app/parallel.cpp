#include "parallel.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <exception>
#include <string_view>

#include "base/error.hpp"
#include "hdf5/probe.hpp"
#include "mpi/collective_error.hpp"
#include "mpi/ending.hpp"
#include "mpi/session.hpp"
#include "progress.hpp"

namespace fedmpi::app {

bool asks_for_help(int argc, char** argv) {
  return std::any_of(argv + 1, argv + argc, [](std::string_view word) { return word == "--help" || word == "-h"; });
}

int run_parallel(int argc, char** argv, const std::function<void(const mpi::Communicator&)>& prepare,
                 const std::function<int(mpi::Communicator&)>& command) {
  hdf5::start_probing();
  mpi::Session session(argc, argv, {.owns_process = true});
  const int rank = session.world().rank();
  const auto leaving_with = [&session](int code) {
    session.ends_with(code);
    return code;
  };
  try {
    {
      const mpi::StartLimit limit;
      mpi::collectively(session.world(), [&] {
        if (rank == 0) mpi::empty_exit_file();
        prepare(session.world());
      });
    }
    const int code = command(session.world());
    flush_output();
    return leaving_with(code);
  } catch (const mpi::CollectiveError& error) {
    if (rank == 0) print_error(error.what());
    return leaving_with(static_cast<int>(error.code()));
  } catch (const std::exception& thrown) {
    const Error error = explained(thrown);
    print_error(fmt::format("rank {}: {}", rank, error.what()));
    session.abort(leaving_with(static_cast<int>(error.code())));
  }
}

}  // namespace fedmpi::app
