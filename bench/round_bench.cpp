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
#include <optional>
#include <stdexcept>
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
  throw std::runtime_error("/proc/self/io does not tell the reads");
}

// What this process has used so far. To find out takes as long as an empty round: done twice in a run.
struct Usage {
  double cpu = cpu_seconds(), read = reads();
  std::chrono::steady_clock::time_point time = std::chrono::steady_clock::now();
};

using Rows = std::vector<checkpoint::Row>;

double median(const Rows& rows, double checkpoint::Row::*part) {
  std::vector<double> values;
  for (const checkpoint::Row& row : rows) values.push_back(row.*part);
  std::nth_element(values.begin(), values.begin() + static_cast<std::ptrdiff_t>(values.size() / 2), values.end());
  return values[values.size() / 2];
}

double total(const Rows& rows, double checkpoint::Row::*part) {
  double sum = 0;
  for (const checkpoint::Row& row : rows) sum += row.*part;
  return sum;
}

// Of all rows, with what had been used after the round kWarm and after the last.
constexpr std::uint64_t kWarm = 2;
void report(const Rows& all, const Usage& first, const Usage& last, double largest_peak) {
  using checkpoint::Row;
  const Rows measured(all.begin() + kWarm + 1, all.end());
  const double wall = std::chrono::duration<double>(last.time - first.time).count();
  const double rounds = static_cast<double>(measured.size());
  const double own_reads = [] {  // what asking costs
    const double before = reads();
    return reads() - before;
  }();
  const double parts = total(measured, &Row::seconds_broadcast) + total(measured, &Row::seconds_train) +
                       total(measured, &Row::seconds_exchange) + total(measured, &Row::seconds_server) +
                       total(measured, &Row::seconds_evaluate) + total(measured, &Row::seconds_checkpoint);
  const std::vector<std::pair<const char*, double>> figures = {
      {"seconds", median(measured, &Row::seconds)},
      {"broadcast", median(measured, &Row::seconds_broadcast)},
      {"train", median(measured, &Row::seconds_train)},
      {"exchange", median(measured, &Row::seconds_exchange)},
      {"server", median(measured, &Row::seconds_server)},
      {"evaluate", median(measured, &Row::seconds_evaluate)},
      {"evaluate_share", total(measured, &Row::seconds_evaluate) / total(measured, &Row::seconds)},
      {"parts_share", parts / total(measured, &Row::seconds)},
      {"cpu_share", (last.cpu - first.cpu) / wall},
      {"reads", (last.read - first.read - own_reads) / rounds},
      {"root_peak_bytes", bench::peak_resident()},
      {"peak_bytes", largest_peak},
      {"accuracy", all.back().test_metric}};
  std::printf("{\"rounds\": %.0f", rounds);
  for (const auto& [name, value] : figures)
    if (value == value) std::printf(", \"%s\": %.6g", name, value);
  std::printf("}\n");
}

}  // namespace

int main(int argc, char** argv) {
  mpi::Session session(argc, argv, {.owns_process = true});
  mpi::Communicator& comm = session.world();
  federation::Config config;
  std::string directory = (std::filesystem::temp_directory_path() / "fedmpi-round-XXXXXX").string();
  if (comm.is_root() && mkdtemp(directory.data()) == nullptr) session.abort(74);
  comm.broadcast(directory);
  config.run.dir = directory;
  config.run.checkpoint_every = 0;
  config.eval.every = 0;
  Rows rows;
  std::optional<Usage> first, last;
  try {
    config.apply({argv + 1, argv + argc});
    const std::uint64_t rounds = static_cast<std::uint64_t>(config.federation.rounds);
    rows.reserve(rounds + 1);
    federation::train(comm, config,
                      {.plan = {}, .note = {}, .row = [&](const checkpoint::Row& row, const std::string&) {
                         rows.push_back(row);
                         if (row.round == kWarm) first.emplace();
                         if (row.round == rounds) last.emplace();
                       }});
    double peak = bench::peak_resident();
    comm.all_max(std::span(&peak, 1));
    if (comm.is_root() && rounds > kWarm) report(rows, first.value(), last.value(), peak);
  } catch (const std::exception& error) {
    std::fprintf(stderr, "round_bench: %s\n", error.what());
    session.abort(2);
  }
  if (comm.is_root()) std::filesystem::remove_all(directory);
}
