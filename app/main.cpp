// fedmpi: the command line. Each command is a function in a file of its own.
#include <fmt/format.h>

#include <array>
#include <csignal>
#include <exception>
#include <string_view>

#include "base/error.hpp"
#include "base/names.hpp"
#include "commands.hpp"
#include "descriptors.hpp"
#include "progress.hpp"

namespace {

using namespace fedmpi;

struct Command {
  const char* name;
  const char* summary;
  int (*run)(int argc, char** argv);
};

constexpr std::array<Command, 4> kCommands = {{
    {"shard", "make shards from IDX, CSV, LIBSVM, TensorFlow Federated or generated data", app::shard},
    {"train", "train a federation; start it with mpirun or srun, or alone on a laptop", app::train},
    {"evaluate", "evaluate a checkpoint on a shard", app::evaluate},
    {"inspect", "show what a shard or a checkpoint holds", app::inspect},
}};

void print_help() {
  fmt::print("fedmpi: federated learning by MPI\n\nusage: fedmpi COMMAND [options]\n\n");
  for (const Command& c : kCommands) fmt::print("  {:<10} {}\n", c.name, c.summary);
  fmt::print("\n'fedmpi COMMAND --help' explains a command; 'fedmpi --version' names the version.\n");
}

int run(int argc, char** argv) {
  const std::string_view word = argc > 1 ? argv[1] : "";
  if (word == "--version") {
    fmt::print("fedmpi {}\n", FEDMPI_VERSION);
    return 0;
  }
  if (word.empty() || word == "--help" || word == "-h") {
    print_help();
    return word.empty() ? static_cast<int>(ExitCode::usage) : 0;
  }
  return find_by_name(kCommands, word, "command").run(argc - 1, argv + 1);
}

}  // namespace

// Errors that all ranks agree on are printed by the command itself; what arrives here is of one process
// alone.
int main(int argc, char** argv) {
  app::fill_closed_descriptors();
  std::signal(SIGXFSZ, SIG_IGN);  // a file that may not grow is an error of the call that writes it
  try {
    const int code = run(argc, argv);
    app::flush_output();
    return code;
  } catch (const std::exception& thrown) {
    const Error error = explained(thrown);
    app::print_error(error.what());
    return static_cast<int>(error.code());
  }
}
