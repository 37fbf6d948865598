// Clients trained per second on one core, for three models and several batches, on the shards of
// bench/data.sh. `train` is the client's work alone, with the next client's memory prefetched as in a
// round; `round` is a whole round of one process: cohort, training, the weighted sum and its decoding.
#include <benchmark/benchmark.h>

#include <array>
#include <cstdlib>
#include <map>
#include <string>

#include "federation/round.hpp"
#include "mpi/session.hpp"

namespace {

using namespace fedmpi;

struct Work {
  const char* name;
  std::vector<std::size_t> hidden;
  std::uint64_t clients;  // that the 60,000 images are dealt to
  std::int64_t cohort;
};

const std::array<Work, 3> kWorks = {{
    {"softmax", {}, 1000, 100},
    {"mlp", {128}, 1000, 100},
    {"2nn", {200, 200}, 100, 10},
}};
constexpr std::array<std::int64_t, 3> kBatches = {10, 32, 600};

// The clients of one file, read once for all benchmarks.
const federation::Roster& roster_of(mpi::Communicator& comm, std::uint64_t clients) {
  static std::map<std::uint64_t, federation::Roster> rosters;
  const auto found = rosters.find(clients);
  if (found != rosters.end()) return found->second;
  const char* folder = std::getenv("FEDMPI_BENCH_DATA");
  const std::string shards = std::string(folder != nullptr ? folder : "run/bench") + "/" + std::to_string(clients);
  return rosters.emplace(clients, federation::assemble(comm, shards, false)).first->second;
}

struct Setting {
  Setting(mpi::Communicator& comm, const Work& work, std::int64_t batch) : roster(roster_of(comm, work.clients)) {
    config.model.kind = work.hidden.empty() ? "softmax" : "mlp";
    config.model.hidden = work.hidden;
    config.client.batch = batch;
    config.federation.cohort = work.cohort;
    model = model::make(config.model, roster.schema);
    parameters.resize(model->layout().size());
    Stream stream(1, Purpose::initialise);
    model->initialise(stream, parameters);
  }

  // Multiplications and additions of the matrix products that train on one example.
  double flop_per_example() const {
    double forward = 0, first = 0;
    for (const Tensor& t : model->layout().tensors()) {
      if (t.name != "kernel") continue;
      forward += static_cast<double>(t.size());
      if (first == 0) first = static_cast<double>(t.size());
    }
    return 2 * (3 * forward - first);  // values, errors (but of the images) and gradients
  }

  void count(benchmark::State& state, std::int64_t clients) const {
    const double trained = static_cast<double>(state.iterations() * clients);
    const double examples = static_cast<double>(roster.examples) / static_cast<double>(roster.clients);
    state.counters["clients"] = benchmark::Counter(trained, benchmark::Counter::kIsRate);
    state.counters["GFLOP"] =
        benchmark::Counter(trained * examples * flop_per_example() * 1e-9, benchmark::Counter::kIsRate);
  }

  federation::Config config;
  const federation::Roster& roster;
  std::unique_ptr<model::Model> model;
  Vector parameters;
};

void train(benchmark::State& state, mpi::Communicator& comm, const Work& work, std::int64_t batch) {
  Setting s(comm, work, batch);
  const auto algorithm = client::make(*s.model, s.config.client);
  client::Worker worker(*s.model, s.roster.schema, s.config.client, s.roster.mine.largest_client());
  Vector update(s.parameters.size());
  worker.parameters = update;
  data::ClientId id = 0;
  for (auto _ : state) {
    const data::ClientId next = (id + 17) % s.roster.clients;  // not the next in memory
    worker.batch.to_prefetch = s.roster.mine.client(next).to_prefetch();
    double loss = algorithm->train({s.roster.mine.client(id), s.parameters, 1, 1}, worker);
    benchmark::DoNotOptimize(loss);
    id = next;
  }
  s.count(state, 1);
}

void whole_round(benchmark::State& state, mpi::Communicator& comm, const Work& work, std::int64_t batch) {
  Setting s(comm, work, batch);
  ThreadPool pool(1);
  const auto cluster = mpi::make_cluster(comm, true);
  federation::Round round(comm, *cluster, s.config, s.roster, *s.model, pool);
  std::uint64_t number = 0;
  int exponent = 42;
  for (auto _ : state) {
    round.train(round.plan(++number, exponent), s.parameters);
    const std::span<const float> update = round.deliver();
    exponent = round.next_exponent();
    for (std::size_t j = 0; j < update.size(); ++j) s.parameters[j] += update[j];
  }
  s.count(state, work.cohort);
}

}  // namespace

int main(int argc, char** argv) {
  mpi::Session session(argc, argv, {.owns_process = true});
  struct Row {
    const char* name;
    void (*run)(benchmark::State&, mpi::Communicator&, const Work&, std::int64_t);
  };
  for (const Work& work : kWorks)
    for (const std::int64_t batch : kBatches)
      for (const Row& row : {Row{"train", train}, Row{"round", whole_round}})
        benchmark::RegisterBenchmark(
            (std::string(row.name) + "/" + work.name + "/B:" + std::to_string(batch)).c_str(),
            [&, batch, run = row.run](benchmark::State& state) { run(state, session.world(), work, batch); })
            ->Unit(benchmark::kMicrosecond);
  benchmark::Initialize(&argc, argv);
  benchmark::RunSpecifiedBenchmarks();
}
