// What rank 0 does by itself, in one process: the step of each server optimizer, evaluation on the 10,000 images of
// bench/data.sh, and writing a checkpoint (with its sync, and read back) and reading it.
#include <benchmark/benchmark.h>
#include <unistd.h>

#include <cstdlib>
#include <filesystem>
#include <string>
#include <vector>

#include "checkpoint/checkpoint.hpp"
#include "federation/evaluation.hpp"
#include "federation/roster.hpp"
#include "mpi/session.hpp"
#include "server/optimizer.hpp"

namespace {

using namespace fedmpi;

void step(benchmark::State& state, const server::Kind& kind) {
  const std::size_t d = static_cast<std::size_t>(state.range(0));
  const auto optimizer = kind.make({}, d);
  Vector update(d, 1e-6f), parameters(d);
  std::uint64_t round = 0;
  for (auto _ : state) {
    optimizer->step(++round, update, parameters);
    benchmark::ClobberMemory();
  }
  state.SetItemsProcessed(state.iterations() * state.range(0));
}

void evaluate(benchmark::State& state, mpi::Communicator& comm, const std::vector<std::size_t>& hidden) {
  const char* folder = std::getenv("FEDMPI_BENCH_DATA");
  const std::string shards = std::string(folder != nullptr ? folder : "run/bench") + "/1000";
  federation::Roster roster = federation::assemble(comm, shards, false);
  federation::load_test(comm, roster, shards + "/test.h5", false, 0);
  const auto model = model::make({.kind = hidden.empty() ? "softmax" : "mlp", .hidden = hidden}, roster.schema);
  Vector parameters(model->layout().size());
  Stream stream(1, Purpose::initialise);
  model->initialise(stream, parameters);
  ThreadPool pool(1);
  federation::Evaluator evaluator(*model, roster, pool, false);
  for (auto _ : state) evaluator.measure(parameters);
  state.SetItemsProcessed(state.iterations() * static_cast<std::int64_t>(roster.test_rows));
}

checkpoint::Checkpoint make_checkpoint(std::size_t d) {
  checkpoint::Checkpoint c;
  c.schema = {.classes = 10, .feature_shape = {28, 28}, .type = data::FeatureType::uint8};
  c.layout.add("dense_1", "kernel", {d, 1});
  c.parameters.assign(d, 0.5f);
  c.history.resize(1);
  return c;
}

void save(benchmark::State& state, const std::string& path) {
  const checkpoint::Checkpoint c = make_checkpoint(static_cast<std::size_t>(state.range(0)));
  for (auto _ : state) checkpoint::write(c, path);
  state.SetItemsProcessed(state.iterations() * state.range(0));
}

void restore(benchmark::State& state, const std::string& path) {
  checkpoint::write(make_checkpoint(static_cast<std::size_t>(state.range(0))), path);
  for (auto _ : state) benchmark::DoNotOptimize(checkpoint::read(path).parameters.data());
  state.SetItemsProcessed(state.iterations() * state.range(0));
}

}  // namespace

int main(int argc, char** argv) {
  mpi::Session session(argc, argv, {.owns_process = true});
  std::string directory = (std::filesystem::temp_directory_path() / "fedmpi-server-XXXXXX").string();
  if (mkdtemp(directory.data()) == nullptr) return 74;
  const std::string path = directory + "/checkpoint.h5";
  const auto sizes = [](benchmark::internal::Benchmark* b) {
    b->Arg(7'850)->Arg(1'000'000)->Arg(10'000'000)->Unit(benchmark::kMicrosecond);
  };
  for (const server::Kind& kind : server::optimizers())
    sizes(benchmark::RegisterBenchmark((std::string("step/") + kind.name).c_str(),
                                       [&kind](benchmark::State& state) { step(state, kind); }));
  const std::vector<std::pair<const char*, std::vector<std::size_t>>> models = {
      {"evaluate/softmax", {}}, {"evaluate/mlp", {128}}, {"evaluate/2nn", {200, 200}}};
  for (const auto& [name, hidden] : models)
    benchmark::RegisterBenchmark(name, [&session, hidden = hidden](benchmark::State& state) {
      evaluate(state, session.world(), hidden);
    })->Unit(benchmark::kMillisecond);
  sizes(benchmark::RegisterBenchmark("save", [&](benchmark::State& state) { save(state, path); })->UseRealTime());
  sizes(benchmark::RegisterBenchmark("restore", [&](benchmark::State& state) { restore(state, path); })->UseRealTime());
  benchmark::Initialize(&argc, argv);
  benchmark::RunSpecifiedBenchmarks();
  std::filesystem::remove_all(directory);
}
