// What clients cost that do not take part: memory beyond their data, time to start, and the round's time.
// A shard of 1,000, 100,000 or 1,000,000 clients of one 8-byte example each, so that nothing hides the
// overhead; rounds over 100 of them.
#include <benchmark/benchmark.h>
#include <hdf5.h>
#include <malloc.h>
#include <unistd.h>

#include <array>
#include <chrono>
#include <cstdio>
#include <filesystem>
#include <fstream>
#include <map>
#include <numeric>
#include <sstream>
#include <string>

#include "data/shard_writer.hpp"
#include "federation/round.hpp"
#include "mpi/session.hpp"
#include "peak_resident.hpp"

namespace {

using namespace fedmpi;

constexpr std::int64_t kCohort = 100;

data::Schema schema() {
  data::Schema schema;
  schema.classes = 2;
  schema.feature_shape = {8};
  schema.type = data::FeatureType::uint8;
  schema.scale = 1.0F / 255;
  return schema;
}

class Pixels : public data::Source {
 public:
  explicit Pixels(std::uint64_t clients) : clients_(clients) {}
  const data::Schema& schema() const override { return schema_; }
  const std::vector<std::string>& client_names() const override { return names_; }
  void rewind() override { next_ = 0; }
  bool next(data::Example& example) override {
    if (next_ == clients_) return false;
    for (std::size_t j = 0; j < row_.size(); ++j) row_[j] = static_cast<std::byte>((next_ >> j) % 251);
    example = {row_, static_cast<std::int32_t>(next_ % 2), {}, next_};
    ++next_;
    return true;
  }

 private:
  data::Schema schema_ = ::schema();
  std::vector<std::string> names_;
  std::array<std::byte, 8> row_{};
  std::uint64_t clients_, next_ = 0;
};

void write_shard(const std::string& path, std::uint64_t clients) {
  data::ShardFile file{path, {}};
  for (std::uint64_t c = 0; c < clients; ++c) file.clients.push_back(std::to_string(c));
  std::vector<std::uint32_t> owner(clients);
  std::iota(owner.begin(), owner.end(), 0u);
  Pixels source(clients);
  data::ShardWriter writer(schema(), std::size_t{1} << 28, [](const char*, std::size_t, std::size_t) {});
  writer.write(source, owner, std::span(&file, 1));
  writer.commit();
}

// Bytes that the program holds, all of them: from the heap, and in memory mapped from the system, which has no name.
double held() {
  H5garbage_collect();
  double bytes = static_cast<double>(mallinfo2().uordblks);
  std::ifstream maps("/proc/self/maps");
  for (std::string line; std::getline(maps, line);) {
    std::istringstream fields(line);
    std::size_t begin = 0, end = 0;
    char dash = 0;
    std::string access, offset, device, file, name;
    fields >> std::hex >> begin >> dash >> end >> access >> offset >> device >> file >> name;
    if (access == "rw-p" && name.empty()) bytes += static_cast<double>(end - begin);
  }
  return bytes;
}

// Largest resident size of the process since the last call.
double peak_since() {
  const double peak = bench::peak_resident();
  std::ofstream("/proc/self/clear_refs") << "5";  // start again from what is resident now
  return peak;
}

// A participant with so many clients, as `fedmpi train` would hold it, and what it cost.
struct Participant {
  Participant(mpi::Communicator& comm, std::uint64_t clients, const std::string& directory)
      : cluster(mpi::make_cluster(comm, true)) {
    const std::string path = directory + "/shard-" + std::to_string(clients) + ".h5";
    if (!std::filesystem::exists(path)) write_shard(path, clients);
    config.data.shards = path;
    config.model.kind = "softmax";
    config.federation.cohort = kCohort;

    malloc_trim(0);
    peak_since();
    const double resident_before = peak_since(), held_before = held();
    const auto start = std::chrono::steady_clock::now();
    roster = federation::assemble(comm, path, false);
    model = model::make(config.model, roster.schema);
    algorithm = client::make(*model, config.client);
    round = std::make_unique<federation::Round>(comm, *cluster, config, roster, *model, std::span<const float>(),
                                                *algorithm, states, pool);
    start_seconds = std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count();
    const double data = static_cast<double>(clients * (schema().row_bytes() + sizeof(std::int32_t)));
    overhead = (held() - held_before - data) / static_cast<double>(clients);
    peak = (peak_since() - resident_before - data) / static_cast<double>(clients);
    parameters.resize(model->layout().size());
  }

  federation::Config config;
  federation::Roster roster;
  std::unique_ptr<model::Model> model;
  ThreadPool pool{1};
  std::unique_ptr<mpi::Cluster> cluster;
  std::unique_ptr<client::Algorithm> algorithm;
  client::States states{Layout()};
  std::unique_ptr<federation::Round> round;
  Vector parameters;
  std::uint64_t number = 0;                          // of the last round: no two have the same cohort
  double start_seconds = 0, overhead = 0, peak = 0;  // overhead, peak: bytes per client beyond the data
};

// Those that have been made, by their numbers of clients.
using Participants = std::map<std::int64_t, std::unique_ptr<Participant>>;

void round_of_100(benchmark::State& state, mpi::Communicator& comm, const std::string& directory,
                  Participants& participants) {
  auto& participant = participants[state.range(0)];
  if (!participant)
    participant = std::make_unique<Participant>(comm, static_cast<std::uint64_t>(state.range(0)), directory);
  Participant& p = *participant;
  const double held_before = held();
  for (auto _ : state) {
    const federation::RoundPlan plan = p.round->plan(++p.number, secure::first_scale(p.round->message()));
    p.round->train(plan, {p.parameters, {}}, false);
    benchmark::DoNotOptimize(p.round->deliver().update.data());
  }
  state.counters["growth_bytes"] = held() - held_before;
  state.counters["bytes_per_client"] = p.overhead;
  state.counters["peak_bytes_per_client"] = p.peak;
  state.counters["start_seconds"] = p.start_seconds;
}

}  // namespace

int main(int argc, char** argv) {
  mpi::Session session(argc, argv, {.owns_process = true});
  std::string directory = (std::filesystem::temp_directory_path() / "fedmpi-clients-XXXXXX").string();
  if (mkdtemp(directory.data()) == nullptr) return 74;
  Participants participants;  // they use the session's communicator
  const auto run = [&](benchmark::State& state) { round_of_100(state, session.world(), directory, participants); };
  benchmark::RegisterBenchmark("round_of_100", run)
      ->ArgName("clients")
      ->Arg(1000)
      ->Arg(100'000)
      ->Arg(1'000'000)
      ->Unit(benchmark::kMicrosecond);
  benchmark::Initialize(&argc, argv);
  benchmark::RunSpecifiedBenchmarks();
  std::filesystem::remove_all(directory);
}
