// Loading a whole shard as a participant does, every value checked: the shard of bench/data.sh.
#include <benchmark/benchmark.h>

#include <cstdlib>
#include <string>

#include "data/shard.hpp"

namespace {

using namespace fedmpi;

void load(benchmark::State& state, const std::string& path) {
  std::int64_t bytes = 0;
  for (auto _ : state) {
    const auto shard = data::Shard::open(path);
    const data::Block block = shard->read_clients(0, shard->clients(), shard->schema().classes, false);
    benchmark::DoNotOptimize(block.bytes.data());
    bytes += static_cast<std::int64_t>(block.bytes.size() + block.labels.size() * sizeof(std::int32_t));
  }
  state.SetBytesProcessed(bytes);
}

}  // namespace

int main(int argc, char** argv) {
  const char* folder = std::getenv("FEDMPI_BENCH_DATA");
  const std::string shard = std::string(folder != nullptr ? folder : "run/bench") + "/1000/shard-00000.h5";
  benchmark::RegisterBenchmark("load", [shard](benchmark::State& state) {
    load(state, shard);
  })->Unit(benchmark::kMillisecond);
  benchmark::Initialize(&argc, argv);
  benchmark::RunSpecifiedBenchmarks();
}
