// fedmpi evaluate: how good a checkpoint's model is on a shard.
#include <fmt/format.h>

#include <boost/program_options.hpp>
#include <memory>
#include <sstream>
#include <string>

#include "base/error.hpp"
#include "base/thread_pool.hpp"
#include "checkpoint/checkpoint.hpp"
#include "commands.hpp"
#include "federation/config.hpp"
#include "federation/evaluation.hpp"
#include "federation/roster.hpp"
#include "parallel.hpp"

namespace fedmpi::app {

namespace {

namespace po = boost::program_options;

struct Arguments {
  std::string checkpoint, data;
  std::size_t threads = 1;
};

po::options_description description(Arguments& a) {
  po::options_description d("options");
  d.add_options()("checkpoint", po::value(&a.checkpoint), "the checkpoint, such as run/latest.h5")(
      "data", po::value(&a.data), "the shard, or a directory or pattern of shards")(
      "threads", po::value(&a.threads)->default_value(1), "threads of each rank")("help,h", po::bool_switch());
  return d;
}

Arguments parse(int argc, char** argv) {
  Arguments a;
  try {
    const po::options_description d = description(a);
    po::variables_map values;
    po::store(po::command_line_parser(argc, argv)
                  .options(d)
                  .positional({})
                  .style(po::command_line_style::unix_style & ~po::command_line_style::allow_guessing)
                  .run(),
              values);
    po::notify(values);
  } catch (const po::error& error) {
    fail(ExitCode::usage, "evaluate: {}; known are --checkpoint, --data, --threads", error.what());
  }
  if (a.checkpoint.empty() || a.data.empty())
    fail(ExitCode::usage, "evaluate: expected --checkpoint FILE and --data SHARD");
  if (a.threads < 1 || a.threads > 1024)
    fail(ExitCode::usage, "evaluate: --threads: expected 1 to 1024, found {}", a.threads);
  return a;
}

void check_fit(const data::Schema& model, const data::Schema& found, const Arguments& a) {
  if (model.task != found.task || model.features() != found.features() || model.classes < found.classes ||
      model.targets != found.targets)
    fail(ExitCode::bad_data, "{}: expected {} as the model of {} has, found {}", a.data, model.text(), a.checkpoint,
         found.text());
}

int run(mpi::Communicator& comm, const Arguments& a) {
  // Every rank reads the checkpoint: it is whole on all of them, or none goes on.
  checkpoint::Checkpoint saved;
  std::unique_ptr<model::Model> model;
  mpi::collectively(comm, [&] {
    saved = checkpoint::read(a.checkpoint);
    model = model::make(federation::Config::from_ini(saved.config, a.checkpoint).model, saved.schema);
    if (model->layout().size() != saved.parameters.size())
      fail(ExitCode::bad_data, "{}: expected {} parameters, found {}", a.checkpoint, model->layout().size(),
           saved.parameters.size());
  });
  const federation::Roster roster = federation::assemble(comm, a.data, false);
  mpi::collectively(comm, [&] { check_fit(saved.schema, roster.schema, a); });

  ThreadPool pool(a.threads);
  const auto cluster = mpi::make_cluster(comm, true);
  federation::Evaluator evaluator(*model, roster, pool, true);
  evaluator.measure(saved.parameters);
  const federation::ClientScore score = evaluator.merged(comm, *cluster).clients;
  if (!comm.is_root()) return 0;
  const std::string metric = checkpoint::metric_name(saved.schema.task);
  fmt::print(
      "checkpoint   {} (round {})\ndata         {}: {} clients, {} examples\nloss         {:.6f}\n{:<12} "
      "{:.6f}\n",
      a.checkpoint, saved.round, a.data, roster.clients, roster.examples, score.overall.loss, metric,
      score.overall.metric);
  if (roster.clients > 1)
    fmt::print(
        "per client   mean by examples {:.4f}, 10th percentile {:.4f}, median {:.4f}, 90th {:.4f}, worst {:.4f}\n",
        score.mean, score.p10, score.p50, score.p90, score.worst);
  return 0;
}

}  // namespace

int evaluate(int argc, char** argv) {
  Arguments a;
  if (asks_for_help(argc, argv)) {
    fmt::print("usage: [mpirun -n RANKS] fedmpi evaluate --checkpoint FILE --data SHARD\n\n");
    std::ostringstream text;
    text << description(a);
    fmt::print("{}", text.str());
    return 0;
  }
  return run_parallel(
      argc, argv, [&](const mpi::Communicator&) { a = parse(argc, argv); },
      [&](mpi::Communicator& comm) { return run(comm, a); });
}

}  // namespace fedmpi::app
