#include "mpi/ending.hpp"

#include <mpi.h>
#include <unistd.h>

#include <algorithm>
#include <csignal>
#include <cstdlib>
#include <fstream>

#include "base/environment.hpp"
#include "base/error.hpp"

namespace fedmpi::mpi {

namespace {

volatile std::sig_atomic_t code, length;
const char* volatile words;

}  // namespace

TimeLimit::TimeLimit(std::int64_t seconds, int exit_code, std::string_view last_words) {
  code = exit_code;
  words = last_words.data();
  length = static_cast<std::sig_atomic_t>(last_words.size());
  std::signal(SIGALRM, [](int) {
    [[maybe_unused]] const auto written = write(STDERR_FILENO, words, static_cast<std::size_t>(length));
    std::_Exit(code);
  });
  alarm(static_cast<unsigned>(std::clamp<std::int64_t>(seconds, 1, 86'400)));
}

TimeLimit::~TimeLimit() {
  alarm(0);
  std::signal(SIGALRM, SIG_DFL);
}

StartLimit::StartLimit()
    : TimeLimit(environment_number("FEDMPI_START_SECONDS").value_or(600), static_cast<int>(ExitCode::stopped),
                "fedmpi: MPI has not started in time (FEDMPI_START_SECONDS): a rank is missing\n") {}

void leave_exit_code(int rank, int exit_code, std::string_view why) {
  const char* file = std::getenv("FEDMPI_EXIT_FILE");
  if (rank == 0 && file != nullptr) std::ofstream(file) << exit_code << '\n' << why << '\n';
}

// Where several abort at once PMIx may leave one of them waiting for ever (open-mpi/ompi#3225).
void end_all(int exit_code) {
  const TimeLimit limit(5, exit_code, "");
  MPI_Abort(MPI_COMM_WORLD, exit_code);
  std::_Exit(exit_code);
}

}  // namespace fedmpi::mpi
