// fedmpi train: options in, a trained model in the run directory out.
#include <fmt/format.h>

#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <string>
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

using federation::Config;

struct CommandLine {
  std::string config;
  bool dry_run = false;
  std::vector<std::string> options;
};

CommandLine parse(int argc, char** argv) {
  CommandLine line;
  for (int i = 1; i < argc; ++i) {
    const std::string word = argv[i];
    if (word.starts_with("--config") && !line.config.empty())
      fail(ExitCode::usage, "--config: expected one file, found '{}' and more", line.config);
    if (word == "--dry-run")
      line.dry_run = true;
    else if (word.starts_with("--config="))
      line.config = word.substr(9);
    else if (word == "--config" && i + 1 < argc)
      line.config = argv[++i];
    else if (word == "--config")
      fail(ExitCode::usage, "--config: expected a file, found nothing");
    else
      line.options.push_back(word);
  }
  return line;
}

void print_help() {
  fmt::print(
      "usage: mpirun -n RANKS fedmpi train [--config FILE] [--section.key VALUE ...] [--dry-run]\n\n"
      "Rank 0 aggregates, every other rank trains its share of the clients; a single process does both.\n"
      "--config FILE is an INI file; --section.key VALUE overrides 'key = VALUE' under [section] in it.\n"
      "--dry-run checks every option, shard and path on every rank and prints the plan.\n"
      "Exit codes: 0 done, 2 usage, 65 bad data, 70 bug, 73 cannot create output, 74 I/O error,\n"
      "75 stopped early (go on with --run.resume auto).\n\n{}",
      Config::help());
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
    fmt::print("final test {} {:.4f}, test loss {:.4f} after round {}\n", outcome.metric, last.test_metric,
               last.test_loss, last.round);
  else if (last.train_loss == last.train_loss)
    fmt::print("final train loss {:.6g} after round {}\n", last.train_loss, last.round);
  fmt::print("weights sha256 {}\n{}\n{}\n", outcome.weights_sha256, time_summary(outcome.history), progress.summary());
  if (!outcome.checkpoint.empty()) fmt::print("saved {}\n", outcome.checkpoint);
}

}  // namespace

int train(int argc, char** argv) {
  if (asks_for_help(argc, argv)) {
    print_help();
    return 0;
  }
  Progress progress;
  federation::catch_preemption();  // a signal may come while MPI starts
  const std::int64_t tasks = tasks_on_their_own();
  CommandLine line;
  Config config;
  const auto read_options = [&](const mpi::Communicator& comm) {
    if (tasks > comm.size())
      fail(ExitCode::usage, "expected {} ranks, as many as srun has started, found {}: use srun --mpi=pmix, or mpirun",
           tasks, comm.size());
    line = parse(argc, argv);
    if (!line.config.empty()) config = Config::from_file(line.config);
    config.apply(line.options);
  };
  return run_parallel(argc, argv, read_options, [&](mpi::Communicator& comm) {
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
