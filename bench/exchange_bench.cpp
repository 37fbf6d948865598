// Weights out and the exact sum back, beside raw MPI_Bcast + MPI_Reduce of as many float32; on all ranks together, with
// fixed numbers of iterations so that the ranks agree. Before the clock starts, which is rank 0's, it has written new
// weights and every participant a new update; it stops when every participant has read all of its weights, and rank 0
// all of the sum. (Written anew because they are so in every round: what has not changed since the last time is fetched
// from a nearer cache, and flatters. Read because memory that is shared has not moved before it is.)
// They take turns: a name comes several times.
#include <benchmark/benchmark.h>
#include <mpi.h>

#include <Eigen/Core>
#include <algorithm>
#include <cstdlib>
#include <string>
#include <string_view>
#include <vector>

#include "aggregate/exchange.hpp"
#include "base/vector.hpp"
#include "mpi/session.hpp"
#include "mpi/shared_memory.hpp"
#include "peak_resident.hpp"
#include "secure/ring.hpp"

namespace {

using namespace fedmpi;

class NoReporter : public benchmark::BenchmarkReporter {
 public:
  bool ReportContext(const Context&) override { return true; }
  void ReportRuns(const std::vector<Run>&) override {}
};

// What weights and updates consist of in that iteration: whole, so that its sums have no error, and not what they were.
float value_of(std::int64_t iteration) { return static_cast<float>(1 + iteration % 100); }

// Reads all of the values; whether they are as expected, by the first, the middle and the last.
template <class T>
bool read(std::span<const T> values, double expected) {
  using Array = Eigen::Array<T, Eigen::Dynamic, 1>;
  T sum = Eigen::Map<const Array>(values.data(), static_cast<Eigen::Index>(values.size())).sum();
  benchmark::DoNotOptimize(sum);
  const auto right = [&](T value) { return std::abs(static_cast<double>(value) - expected) <= 1e-5 * expected; };
  return right(values.front()) && right(values[values.size() / 2]) && right(values.back());
}

// Times `exchange` on all ranks, after `prepare`, and reports rank 0's median and best, and the largest peak of a rank.
// Both are given the iteration's value; exchange() returns whether this rank read the right ones.
template <class Prepare, class Exchange>
void timed(benchmark::State& state, mpi::Communicator& comm, Prepare prepare, Exchange exchange) {
  std::vector<double> seconds;
  double wrong = 0, peak = 0;
  for (auto _ : state) {
    const float value = value_of(static_cast<std::int64_t>(seconds.size()));
    MPI_Barrier(MPI_COMM_WORLD);  // now rank 0 has read what it got last
    prepare(value);
    MPI_Barrier(MPI_COMM_WORLD);
    const double start = MPI_Wtime();
    const bool right = exchange(value);
    seconds.push_back(MPI_Wtime() - start);
    state.SetIterationTime(seconds.back());
    if (!right) ++wrong;
  }
  std::sort(seconds.begin(), seconds.end());
  state.counters["median_us"] = 1e6 * seconds[seconds.size() / 2];
  state.counters["best_us"] = 1e6 * seconds.front();
  peak = bench::peak_resident();
  comm.all_max(std::span(&peak, 1));
  comm.all_max(std::span(&wrong, 1));
  state.counters["peak_bytes"] = peak;
  if (wrong > 0) state.SkipWithError("a rank got wrong values");
}

std::int64_t asked_for(const char* variable, std::int64_t otherwise) {
  const char* value = std::getenv(variable);
  return value != nullptr ? std::atoll(value) : otherwise;
}

bool trains(const mpi::Communicator& comm) { return comm.size() == 1 || !comm.is_root(); }

// One update of each participant, or as many as FEDMPI_BENCH_UPDATES says; `kind` is an aggregator.
void ours(benchmark::State& state, mpi::Communicator& comm, const std::string& kind, bool shared_memory) {
  const std::size_t d = static_cast<std::size_t>(state.range(0));
  const auto made = mpi::make_cluster(comm, shared_memory);
  mpi::Cluster& cluster = *made;
  const std::int64_t updates = asked_for("FEDMPI_BENCH_UPDATES", 1);
  const double weight = 1.0 / static_cast<double>(updates * std::max(1, comm.size() - 1));
  const auto exchange =
      aggregate::make_exchange(aggregate::kind({.kind = kind}), d, {comm, cluster, trains(comm) ? 1u : 0u});
  const mpi::Shared<float> weights(cluster, cluster.leads() ? d : 0);
  std::uint64_t order = 0;
  timed(
      state, comm,
      [&](float value) {
        if (comm.is_root()) std::fill_n(weights.mine().begin(), d, value);
        exchange->begin(1);
        exchange->set_exponent(secure::kFirstExponent);
        if (!trains(comm)) return;
        std::fill_n(exchange->room(0).begin(), d, value);
        exchange->take(0, weight, value);
      },
      [&](float value) {
        bool right = true;
        cluster.broadcast(order, weights.of(0));
        if (trains(comm)) right = read<float>(weights.of(0), value);
        for (std::int64_t u = 1; trains(comm) && u < updates; ++u) {
          exchange->room(0);  // the last update gives way to the next, which is the same
          exchange->take(0, weight, value);
        }
        cluster.arrive();  // as a round waits for the last, so that nobody adds up what is not there
        cluster.release();
        const std::span<const float> result = exchange->deliver(1.0);
        if (comm.is_root()) right = read(result, value) && right;
        return right;
      });
}

// Weights and updates read where they lie, the updates by rank 0, and nothing else.
void handover(benchmark::State& state, mpi::Communicator& comm) {
  const std::size_t d = static_cast<std::size_t>(state.range(0));
  const auto made = mpi::make_cluster(comm, true);
  mpi::Cluster& cluster = *made;
  const mpi::Shared<float> weights(cluster, comm.is_root() ? d : 0), update(cluster, trains(comm) ? d : 0);
  timed(
      state, comm,
      [&](float value) {
        if (comm.is_root()) std::fill_n(weights.mine().begin(), d, value);
        if (trains(comm)) std::fill_n(update.mine().begin(), d, value);
      },
      [&](float value) {
        bool right = true;
        cluster.release();
        if (trains(comm)) right = read<float>(weights.of(0), value);
        cluster.arrive();
        for (int m = 1; comm.is_root() && m < cluster.members(); ++m) right = read<float>(update.of(m), value) && right;
        return right;
      });
}

// What any exchange in shared memory moves that shares the sum out: the participants read the weights, all ranks add up
// the updates, in float32 and each its share of the places, and rank 0 reads the sum.
void shared_additions(benchmark::State& state, mpi::Communicator& comm) {
  const std::size_t d = static_cast<std::size_t>(state.range(0));
  const auto made = mpi::make_cluster(comm, true);
  mpi::Cluster& cluster = *made;
  const mpi::Shared<float> weights(cluster, comm.is_root() ? d : 0), update(cluster, trains(comm) ? d : 0);
  const mpi::Shared<float> sum(cluster, comm.is_root() ? d : 0);
  const int members = cluster.members();
  const auto start_of = [&](int member) {
    return d * static_cast<std::size_t>(member) / static_cast<std::size_t>(members);
  };
  const auto add_up = [&] {
    constexpr std::size_t kPiece = 4096;  // of which the sum stays in the first cache
    for (std::size_t first = start_of(cluster.member()), end = start_of(cluster.member() + 1); first < end;) {
      const std::size_t n = std::min(kPiece, end - first);
      const auto piece = [&](const mpi::Shared<float>& all, int member) {
        return Eigen::Map<Eigen::ArrayXf>(all.of(member).data() + first, static_cast<Eigen::Index>(n));
      };
      piece(sum, 0) = piece(update, 1);
      for (int m = 2; m < members; ++m) piece(sum, 0) += piece(update, m);
      first += n;
    }
  };
  timed(
      state, comm,
      [&](float value) {
        if (comm.is_root()) std::fill_n(weights.mine().begin(), d, value);
        if (trains(comm)) std::fill_n(update.mine().begin(), d, value);
      },
      [&](float value) {
        bool right = true;
        cluster.release();
        if (trains(comm)) right = read<float>(weights.of(0), value);
        cluster.arrive();
        cluster.release();
        add_up();
        cluster.arrive();
        if (comm.is_root()) right = read<float>(sum.of(0), value * (members - 1.0));
        return right;
      });
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
      state, comm,
      [&](float value) {
        if (comm.is_root()) std::fill(weights.begin(), weights.end(), value);
        std::fill(update.begin(), update.end(), static_cast<T>(value));
      },
      [&](float value) {
        bool right = true;
        MPI_Bcast(weights.data(), n, MPI_FLOAT, 0, MPI_COMM_WORLD);
        if (trains(comm)) right = read<float>(weights, value);
        MPI_Reduce(update.data(), result.data(), n, mpi::type_of<T>(), MPI_SUM, 0, MPI_COMM_WORLD);
        if (comm.is_root()) right = read<T>(result, value * static_cast<double>(comm.size())) && right;
        return right;
      });
}

// MPI where rank 0 gets to see nothing but the sum, as it does of ours: the participants reduce to the first of them,
// which sends the sum on. On 2 ranks it is the one update. Each has values of type T to add, all alike, or what
// make(update, values) makes of its update; rank 0 gets the sum, and get(sum, value) returns whether it is right.
template <class T, class Make, class Get>
void by_participant(benchmark::State& state, mpi::Communicator& comm, Make make, Get get) {
  const std::size_t d = static_cast<std::size_t>(state.range(0));
  Vector weights(d), update(d);
  AlignedVector<T> values(d), sum(comm.rank() < 2 ? d : 0);
  const int n = static_cast<int>(d);
  MPI_Comm participants = MPI_COMM_NULL;
  MPI_Comm_split(MPI_COMM_WORLD, comm.is_root() ? MPI_UNDEFINED : 0, comm.rank(), &participants);
  timed(
      state, comm,
      [&](float value) {
        if (comm.is_root()) std::fill(weights.begin(), weights.end(), value);
        std::fill(values.begin(), values.end(), static_cast<T>(value));
        std::fill(update.begin(), update.end(), value);
      },
      [&](float value) {
        MPI_Bcast(weights.data(), n, MPI_FLOAT, 0, MPI_COMM_WORLD);
        if (comm.is_root()) {
          MPI_Recv(sum.data(), n, mpi::type_of<T>(), 1, 0, MPI_COMM_WORLD, MPI_STATUS_IGNORE);
          return get(std::span(sum), value);
        }
        const bool right = read<float>(weights, value);
        make(std::span<const float>(update), std::span(values));
        if (comm.size() > 2) MPI_Reduce(values.data(), sum.data(), n, mpi::type_of<T>(), MPI_SUM, 0, participants);
        if (comm.rank() == 1)
          MPI_Send(comm.size() > 2 ? sum.data() : values.data(), n, mpi::type_of<T>(), 0, 0, MPI_COMM_WORLD);
        return right;
      });
  if (participants != MPI_COMM_NULL) MPI_Comm_free(&participants);
}

template <class T>
void raw_by_participant(benchmark::State& state, mpi::Communicator& comm) {
  by_participant<T>(
      state, comm, [](std::span<const float>, std::span<T>) {},
      [&](std::span<T> sum, float value) { return read<T>(sum, value * (comm.size() - 1.0)); });
}

// The same and what makes the sum exact, one after the other.
void exact_by_participant(benchmark::State& state, mpi::Communicator& comm) {
  using secure::kFirstExponent, secure::Encode;
  if (comm.size() == 2) {
    constexpr std::size_t kPiece = 1024;  // stays in the first cache
    std::vector<std::int64_t> piece(kPiece);
    return by_participant<float>(
        state, comm, [](std::span<const float>, std::span<float>) {},
        [&](std::span<float> update, float value) {
          for (std::size_t first = 0; first < update.size(); first += kPiece) {
            const std::span<float> part = update.subspan(first, std::min(kPiece, update.size() - first));
            secure::encode(part, 1.0, kFirstExponent, std::span(piece).first(part.size()), Encode::set);
            secure::decode(std::span(piece).first(part.size()), 1.0, kFirstExponent, part);
          }
          return read<float>(update, value);
        });
  }
  Vector mean(comm.is_root() ? static_cast<std::size_t>(state.range(0)) : 0);
  by_participant<std::int64_t>(
      state, comm,
      [&](std::span<const float> update, std::span<std::int64_t> values) {
        secure::encode(update, 1.0 / (comm.size() - 1.0), kFirstExponent, values, Encode::set);
      },
      [&](std::span<std::int64_t> sum, float value) {
        secure::decode(sum, 1.0, kFirstExponent, mean);
        return read<float>(mean, value);
      });
}

}  // namespace

int main(int argc, char** argv) {
  mpi::Session session(argc, argv, {.owns_process = true});
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
      if (comm.size() == 1) continue;  // nobody to hand anything to
      add("handover", handover);
      add("shared_additions", shared_additions);
      add("raw_by_participant", comm.size() == 2 ? raw_by_participant<float> : raw_by_participant<std::int64_t>);
      add("exact_by_participant", exact_by_participant);
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
