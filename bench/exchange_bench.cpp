// Weights out and the exact sum back, beside raw MPI_Bcast + MPI_Reduce of as many float32; on all ranks together, with
// fixed numbers of iterations so that the ranks agree. Before the clock starts, which is rank 0's, it has written new
// weights and every participant a new update; it stops when rank 0 has the sum. (Written anew because they are so in
// every round: what has not changed since the last time is fetched from a nearer cache, and flatters.)
// They take turns: a name comes several times.
#include <benchmark/benchmark.h>
#include <mpi.h>

#include <algorithm>
#include <cstdlib>
#include <fstream>
#include <string>
#include <string_view>
#include <vector>

#include "aggregate/exchange.hpp"
#include "base/vector.hpp"
#include "mpi/session.hpp"
#include "mpi/shared_memory.hpp"
#include "secure/ring.hpp"

namespace {

using namespace fedmpi;

class NoReporter : public benchmark::BenchmarkReporter {
 public:
  bool ReportContext(const Context&) override { return true; }
  void ReportRuns(const std::vector<Run>&) override {}
};

// Times `exchange` on all ranks, after `prepare`, and reports rank 0's median and best.
template <class Prepare, class Exchange>
void timed(benchmark::State& state, Prepare prepare, Exchange exchange) {
  std::vector<double> seconds;
  for (auto _ : state) {
    prepare();
    MPI_Barrier(MPI_COMM_WORLD);
    const double start = MPI_Wtime();
    exchange();
    seconds.push_back(MPI_Wtime() - start);
    state.SetIterationTime(seconds.back());
  }
  std::sort(seconds.begin(), seconds.end());
  state.counters["median_us"] = 1e6 * seconds[seconds.size() / 2];
  state.counters["best_us"] = 1e6 * seconds.front();
}

// Largest resident size of a rank so far, in bytes, the largest of all ranks.
double peak_resident() {
  double peak = 0;
  std::ifstream status("/proc/self/status");
  for (std::string line; std::getline(status, line);)
    if (line.starts_with("VmHWM:")) peak = 1024 * std::stod(line.substr(6));
  MPI_Allreduce(MPI_IN_PLACE, &peak, 1, MPI_DOUBLE, MPI_MAX, MPI_COMM_WORLD);
  return peak;
}

std::int64_t asked_for(const char* variable, std::int64_t otherwise) {
  const char* value = std::getenv(variable);
  return value != nullptr ? std::atoll(value) : otherwise;
}

// One update of each participant, or as many as FEDMPI_BENCH_UPDATES says; `kind` is an aggregator.
void ours(benchmark::State& state, mpi::Communicator& comm, const std::string& kind, bool shared_memory) {
  const std::size_t d = static_cast<std::size_t>(state.range(0));
  mpi::Cluster cluster(comm, shared_memory);
  const bool trains = comm.size() == 1 || !comm.is_root();
  const std::int64_t updates = asked_for("FEDMPI_BENCH_UPDATES", 1);
  const double weight = 1.0 / static_cast<double>(updates * std::max(1, comm.size() - 1));
  const auto exchange = aggregate::make_exchange(aggregate::kind({.kind = kind}), d, {comm, cluster, trains ? 1u : 0u});
  const mpi::Shared<float> weights(cluster, cluster.leads() ? d : 0);
  std::span<float> result;
  std::uint64_t order = 0;
  timed(
      state,
      [&] {
        cluster.release();  // now rank 0 has the last sum
        if (comm.is_root()) std::fill_n(weights.mine().begin(), d, 0.5F);
        exchange->begin(1);
        exchange->set_exponent(secure::kFirstExponent);
        if (!trains) return;
        std::fill_n(exchange->room(0).begin(), d, 0.5F);
        exchange->take(0, weight, 0.5F);
      },
      [&] {
        cluster.broadcast(order, weights.of(0));
        for (std::int64_t u = 1; trains && u < updates; ++u) {
          exchange->room(0);  // the last update gives way to the next, which is the same
          exchange->take(0, weight, 0.5F);
        }
        if (updates > 1) {  // as a round waits for the last
          cluster.arrive();
          cluster.release();
        }
        result = exchange->deliver(1.0);
      });
  if (comm.is_root() && std::abs(result[d / 2] - 0.5F) > 1e-6F) state.SkipWithError("the sum is wrong");
  state.counters["peak_bytes"] = peak_resident();
}

// MPI_Bcast of float32 weights and MPI_Reduce of as many updates of type T: of float32, or, which are the bytes of an
// exact sum, of int64.
template <class T>
void raw(benchmark::State& state, mpi::Communicator& comm) {
  const std::size_t d = static_cast<std::size_t>(state.range(0));
  Vector weights(d);
  AlignedVector<T> update(d), result(comm.is_root() ? d : 0);
  const int n = static_cast<int>(d);
  timed(
      state,
      [&] {
        if (comm.is_root()) std::fill(weights.begin(), weights.end(), 0.5F);
        std::fill(update.begin(), update.end(), T{1});
      },
      [&] {
        MPI_Bcast(weights.data(), n, MPI_FLOAT, 0, MPI_COMM_WORLD);
        MPI_Reduce(update.data(), result.data(), n, mpi::type_of<T>(), MPI_SUM, 0, MPI_COMM_WORLD);
      });
}

}  // namespace

int main(int argc, char** argv) {
  mpi::Session session(argc, argv);
  mpi::Communicator& comm = session.world();
  std::vector<std::int64_t> sizes = {7'850, 100'000, 1'000'000, 10'000'000};
  if (const std::int64_t asked = asked_for("FEDMPI_BENCH_PARAMETERS", 0)) sizes = {asked};
  for (const std::int64_t d : sizes) {
    // In turns of some milliseconds, so that a change of the machine's speed meets all of them.
    const std::int64_t iterations = std::clamp<std::int64_t>(100'000'000 / d, 3, 2000);
    const std::int64_t turns = std::clamp<std::int64_t>(iterations / 20, 1, 10);
    const auto add = [&](const char* name, auto run) {
      benchmark::RegisterBenchmark(name, [&comm, run](benchmark::State& state) { run(state, comm); })
          ->Arg(d)
          ->Iterations(iterations / turns)
          ->UseManualTime()
          ->Unit(benchmark::kMicrosecond);
    };
    for (std::int64_t turn = 0; turn < turns; ++turn) {
      add("ours", [](benchmark::State& state, mpi::Communicator& c) { ours(state, c, "mean", true); });
      add("ours_by_mpi", [](benchmark::State& state, mpi::Communicator& c) { ours(state, c, "mean", false); });
      add("ours_float", [](benchmark::State& state, mpi::Communicator& c) { ours(state, c, "float-mean", true); });
      add("raw", raw<float>);
      add("raw_same_bytes", raw<std::int64_t>);
    }
  }
  if (!comm.is_root()) {  // the file that --benchmark_out names is rank 0's
    const auto names_file = [](std::string_view word) { return word.starts_with("--benchmark_out"); };
    argc = static_cast<int>(std::remove_if(argv + 1, argv + argc, names_file) - argv);
  }
  benchmark::Initialize(&argc, argv);
  NoReporter silent;
  if (comm.is_root())
    benchmark::RunSpecifiedBenchmarks();
  else
    benchmark::RunSpecifiedBenchmarks(&silent);
}
