// A whole run as `fedmpi train` makes it, measured from rank 0: mpirun -n RANKS round_bench --section.key VALUE …
// Prints one JSON object: medians over the rounds but the first two, of the round and of its parts in seconds;
// the share of a core that rank 0 used; how often it read from a file, pipe or socket in a round; and the largest
// resident size in bytes, rank 0's and the largest of all ranks.
#include <sys/resource.h>
#include <unistd.h>

#include <algorithm>
#include <chrono>
#include <cstdio>
#include <filesystem>
#include <fstream>
#include <string>
#include <vector>

#include "federation/federation.hpp"
#include "mpi/session.hpp"
#include "peak_resident.hpp"

namespace {

using namespace fedmpi;

double cpu_seconds() {
  rusage usage{};
  getrusage(RUSAGE_SELF, &usage);
  const auto seconds = [](const timeval& t) {
    return static_cast<double>(t.tv_sec) + 1e-6 * static_cast<double>(t.tv_usec);
  };
  return seconds(usage.ru_utime) + seconds(usage.ru_stime);
}

// Calls of read and its like so far, this one's own included.
double reads() {
  std::ifstream io("/proc/self/io");
  std::string name;
  for (double value; io >> name >> value;)
    if (name == "syscr:") return value;
  return 0;
}

struct Moment {
  checkpoint::Row row;
  double cpu = cpu_seconds(), read = reads();
  std::chrono::steady_clock::time_point time = std::chrono::steady_clock::now();
};

double median(const std::vector<Moment>& moments, double checkpoint::Row::*part) {
  std::vector<double> values;
  for (const Moment& m : moments) values.push_back(m.row.*part);
  std::nth_element(values.begin(), values.begin() + static_cast<std::ptrdiff_t>(values.size() / 2), values.end());
  return values[values.size() / 2];
}

double total(const std::vector<Moment>& moments, double checkpoint::Row::*part) {
  double sum = 0;
  for (const Moment& m : moments) sum += m.row.*part;
  return sum;
}

void report(const std::vector<Moment>& all, double accuracy, double largest_peak) {
  using checkpoint::Row;
  const std::vector<Moment> moments(all.begin() + 3, all.end());  // rows 0, 1 and 2 warm up
  const Moment &first = all[2], &last = all.back();
  const double wall = std::chrono::duration<double>(last.time - first.time).count();
  const double rounds = static_cast<double>(moments.size());
  const double own_reads = [] {  // what asking costs
    const double before = reads();
    return reads() - before;
  }();
  const double parts = total(moments, &Row::seconds_broadcast) + total(moments, &Row::seconds_train) +
                       total(moments, &Row::seconds_exchange) + total(moments, &Row::seconds_server) +
                       total(moments, &Row::seconds_evaluate) + total(moments, &Row::seconds_checkpoint);
  const std::vector<std::pair<const char*, double>> figures = {
      {"seconds", median(moments, &Row::seconds)},
      {"broadcast", median(moments, &Row::seconds_broadcast)},
      {"train", median(moments, &Row::seconds_train)},
      {"exchange", median(moments, &Row::seconds_exchange)},
      {"server", median(moments, &Row::seconds_server)},
      {"evaluate", median(moments, &Row::seconds_evaluate)},
      {"evaluate_share", total(moments, &Row::seconds_evaluate) / total(moments, &Row::seconds)},
      {"parts_share", parts / total(moments, &Row::seconds)},
      {"cpu_share", (last.cpu - first.cpu) / wall},
      {"reads", (last.read - first.read) / rounds - own_reads},
      {"root_peak_bytes", bench::peak_resident()},
      {"peak_bytes", largest_peak},
      {"accuracy", accuracy}};
  std::printf("{\"rounds\": %.0f", rounds);
  for (const auto& [name, value] : figures)
    if (value == value) std::printf(", \"%s\": %.6g", name, value);
  std::printf("}\n");
}

}  // namespace

int main(int argc, char** argv) {
  mpi::Session session(argc, argv);
  mpi::Communicator& comm = session.world();
  federation::Config config;
  std::string directory = (std::filesystem::temp_directory_path() / "fedmpi-round-XXXXXX").string();
  if (comm.is_root() && mkdtemp(directory.data()) == nullptr) return 74;
  config.run.dir = directory;
  config.run.checkpoint_every = 0;
  config.eval.every = 0;
  std::vector<Moment> moments;
  try {
    config.apply({argv + 1, argv + argc});
    moments.reserve(static_cast<std::size_t>(config.federation.rounds) + 1);
    const federation::Outcome outcome = federation::train(
        comm, config, {.plan = {}, .note = {}, .row = [&](const checkpoint::Row& row, const std::string&) {
                         moments.push_back({row});
                       }});
    double peak = bench::peak_resident();
    comm.all_max(std::span(&peak, 1));
    if (comm.is_root() && moments.size() > 3) report(moments, outcome.history.back().test_metric, peak);
  } catch (const std::exception& error) {
    std::fprintf(stderr, "round_bench: %s\n", error.what());
    session.abort(2);
  }
  if (comm.is_root()) std::filesystem::remove_all(directory);
}
