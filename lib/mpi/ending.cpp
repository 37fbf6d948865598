#include "mpi/ending.hpp"

#include <fcntl.h>
#include <mpi.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <csignal>
#include <cstdlib>
#include <cstring>
#include <fstream>

#include "base/environment.hpp"
#include "base/error.hpp"

namespace fedmpi::mpi {

namespace {

volatile std::sig_atomic_t code, length;
const char* volatile words;
const char* volatile file_of_code;  // null: none

// In a signal handler.
void leave_code_of_limit() {
  const int file = file_of_code == nullptr ? -1 : open(file_of_code, O_WRONLY | O_CREAT | O_CLOEXEC, 0666);
  if (file < 0) return;
  const std::array<char, 4> text = {static_cast<char>('0' + code / 10), static_cast<char>('0' + code % 10), '\n', '\n'};
  // Not emptied first: other ranks do the same, and one that is killed here leaves what they have written.
  if (write(file, text.data(), text.size()) > 0) {
    [[maybe_unused]] const int cut = ftruncate(file, static_cast<off_t>(text.size()));
  }
  close(file);
}

}  // namespace

TimeLimit::TimeLimit(std::int64_t seconds, int exit_code, std::string_view last_words, bool leaves_code) {
  code = exit_code;
  file_of_code = leaves_code ? std::getenv("FEDMPI_EXIT_FILE") : nullptr;
  words = last_words.data();
  length = static_cast<std::sig_atomic_t>(last_words.size());
  std::signal(SIGALRM, [](int) {
    [[maybe_unused]] const auto written = write(STDERR_FILENO, words, static_cast<std::size_t>(length));
    leave_code_of_limit();
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
                "fedmpi: MPI has not started in time (FEDMPI_START_SECONDS): a rank is missing\n", true) {}

void empty_exit_file() {
  const char* file = std::getenv("FEDMPI_EXIT_FILE");
  if (file == nullptr || std::ofstream(file)) return;
  fail(ExitCode::cannot_create, "FEDMPI_EXIT_FILE: '{}' cannot be written: {}", file, std::strerror(errno));
}

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
