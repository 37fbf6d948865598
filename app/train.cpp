// fedmpi train: options in, a trained model in the run directory out.
#include <fmt/format.h>

#include <algorithm>
#include <boost/program_options.hpp>
#include <cstdint>
#include <cstdlib>
#include <filesystem>
#include <string>
#include <string_view>
#include <vector>

#include "base/environment.hpp"
#include "commands.hpp"
#include "federation/federation.hpp"
#include "federation/stopping.hpp"
#include "mpi/communicator.hpp"
#include "parallel.hpp"
#include "progress.hpp"

namespace fedmpi::app {

namespace {

namespace po = boost::program_options;
using federation::Config;

struct CommandLine {
  std::string config;
  bool dry_run = false;
  std::vector<std::string> options;
};

CommandLine parse(int argc, char** argv) {
  CommandLine line;
  po::options_description own;
  own.add_options()("config", po::value(&line.config))("dry-run", po::bool_switch(&line.dry_run));
  using namespace po::command_line_style;
  try {
    const auto parsed = po::command_line_parser(argc, argv)
                            .options(own)
                            .style(allow_long | long_allow_adjacent | long_allow_next)
                            .allow_unregistered()
                            .run();
    line.options = po::collect_unrecognized(parsed.options, po::include_positional);
    po::variables_map values;
    po::store(parsed, values);
    po::notify(values);
  } catch (const po::error& error) {
    fail(ExitCode::usage, "{}", error.what());
  }
  return line;
}

// Whether what is read of a file is gone from it, so that one rank has to read it for all of them.
bool is_stream(const std::string& path) {
  std::error_code failure;
  const std::filesystem::file_status status = std::filesystem::status(path, failure);
  return std::filesystem::is_fifo(status) || std::filesystem::is_character_file(status);
}

constexpr const char* kHelp =
    "usage: mpirun -n RANKS fedmpi train [--config FILE] [--section.key VALUE ...] [--dry-run]\n\n"
    "Rank 0 aggregates, every other rank trains its share of the clients; a single process does both.\n"
    "--config FILE is an INI file; --section.key VALUE overrides 'key = VALUE' under [section] in it. An option that\n"
    "the choices made do not read is refused: '--help client.algorithm fedavg' shows what that one reads.\n"
    "--dry-run checks every option, shard and path on every rank and prints the plan.\n"
    "Exit codes: 0 done, 2 usage, 65 bad data, 70 bug, 73 cannot create output, 74 I/O error,\n"
    "75 stopped early (continue with --run.resume auto).\n\n";

// train … --help [OPTION [CHOICE]]
void print_help(int argc, char** argv) {
  char** word = std::find_if(argv, argv + argc, [](std::string_view w) { return w == "--help" || w == "-h"; });
  std::vector<std::string> about;
  while (++word < argv + argc && **word != '-') about.emplace_back(*word);
  if (about.empty())
    fmt::print("{}{}", kHelp, Config::help());
  else if (about.size() == 1)
    fmt::print("{}", Config::help(about[0]));
  else if (about.size() == 2)
    fmt::print("{}", Config::help(about[0], about[1]));
  else
    fail(ExitCode::usage, "--help: expected an option and one of its choices, found '{}' and more", about[2]);
}

// Started by an srun that MPI does not understand, every task would be a run of its own, all in one directory. To be
// asked before MPI starts, which sets PMIX_RANK even in a process on its own.
std::int64_t tasks_on_their_own() {
  return std::getenv("PMIX_RANK") != nullptr ? 1 : environment_number("SLURM_STEP_NUM_TASKS").value_or(1);
}

void report(const federation::Outcome& outcome, const Progress& progress) {
  const checkpoint::Row& last = outcome.history.back();
  fmt::print("{}", chart(outcome.history, outcome.metric));
  fmt::print("{}{}\n", outcome.reason, outcome.code == ExitCode::done ? "" : "; --run.resume auto goes on");
  if (last.test_metric == last.test_metric)
    fmt::print("final test {} {}, test loss {} after round {}\n", outcome.metric, short_text(last.test_metric),
               short_text(last.test_loss), last.round);
  else if (last.train_loss == last.train_loss)
    fmt::print("final train loss {:.6g} after round {}\n", last.train_loss, last.round);
  fmt::print("weights sha256 {}\n{}\n{}\n", outcome.weights_sha256, time_summary(outcome.history), progress.summary());
  if (!outcome.checkpoint.empty()) fmt::print("saved {}\n", outcome.checkpoint);
}

}  // namespace

int train(int argc, char** argv) {
  if (asks_for_help(argc, argv)) {
    print_help(argc, argv);
    return 0;
  }
  Progress progress;
  federation::catch_preemption();  // a signal may come while MPI starts
  const std::int64_t tasks = tasks_on_their_own();
  CommandLine line;
  std::string configuration;  // the text of the file
  const auto read_options = [&](const mpi::Communicator& comm) {
    if (tasks > comm.size())
      fail(ExitCode::usage, "expected {} ranks, as many as srun has started, found {}: use srun --mpi=pmix, or mpirun",
           tasks, comm.size());
    line = parse(argc, argv);
    if (!line.config.empty() && (comm.is_root() || !is_stream(line.config)))
      configuration = Config::text_of(line.config);
  };
  return run_parallel(argc, argv, read_options, [&](mpi::Communicator& comm) {
    std::string on_root = configuration;
    comm.broadcast(on_root);
    if (is_stream(line.config)) configuration = on_root;
    Config config;
    mpi::collectively(comm, [&] {
      config = Config::from_ini(configuration, line.config);
      config.apply(line.options);
    });
    const federation::Observer observer{
        .plan = [&](const std::string& text) { progress.plan(text); },
        .note = Progress::note,
        .row = [&](const checkpoint::Row& row, const std::string& metric) { progress.round(row, metric); },
    };
    if (line.dry_run) {
      federation::dry_run(comm, config, observer);
      return 0;
    }
    const federation::Outcome outcome = federation::train(comm, config, observer);
    if (comm.is_root()) report(outcome, progress);
    return static_cast<int>(outcome.code);
  });
}

}  // namespace fedmpi::app
