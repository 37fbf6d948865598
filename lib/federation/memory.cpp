#include "federation/memory.hpp"

#include <fmt/ranges.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <fstream>
#include <limits>
#include <map>
#include <sstream>
#include <vector>

#include "base/environment.hpp"
#include "base/error.hpp"

namespace fedmpi::federation {

namespace {

constexpr std::uint64_t kUnlimited = std::numeric_limits<std::uint64_t>::max();

// The number after `key` in a file of lines "key number …", all in KiB; `otherwise` where there is none.
std::uint64_t kib_after(const std::string& file, const std::string& key, std::uint64_t otherwise) {
  std::ifstream stream(file);
  for (std::string line; std::getline(stream, line);) {
    std::istringstream words(line);
    std::string first;
    std::uint64_t kib = 0;
    if (words >> first >> kib && first == key) return kib * 1024;
  }
  return otherwise;
}

// The least memory.max (version 2) or memory.limit_in_bytes (version 1) of this process's control group and of
// those above it. A file that is not there, or says "max", is no limit.
std::uint64_t control_group_limit() {
  std::uint64_t limit = kUnlimited;
  std::ifstream groups("/proc/self/cgroup");  // lines "number:controllers:path"
  for (std::string line; std::getline(groups, line);) {
    const std::size_t first = line.find(':'), second = line.find(':', first + 1);
    if (second == std::string::npos) continue;
    const std::string controllers = line.substr(first + 1, second - first - 1);
    if (!controllers.empty() && controllers != "memory") continue;
    const std::string root = controllers.empty() ? "/sys/fs/cgroup" : "/sys/fs/cgroup/memory";
    const std::string file = controllers.empty() ? "/memory.max" : "/memory.limit_in_bytes";
    for (std::string path = line.substr(second + 1);; path.erase(path.rfind('/'))) {
      std::ifstream stream(root + path + file);
      std::uint64_t bytes = 0;
      if (stream >> bytes) limit = std::min(limit, bytes);
      if (path.rfind('/') == std::string::npos) break;
    }
  }
  return limit;
}

std::string host_name() {
  std::array<char, 256> name{};
  gethostname(name.data(), name.size() - 1);
  return name.data();
}

struct Node {
  std::uint64_t ranks = 0, wanted = 0, resident = 0, free = kUnlimited, limit = kUnlimited;
};

}  // namespace

std::uint64_t job_limit() {
  std::uint64_t limit = control_group_limit();
  // In a heterogeneous job every rank finds the number of the first component.
  if (environment_number("SLURM_HET_SIZE")) return limit;
  const auto mib = environment_number("SLURM_MEM_PER_NODE");
  if (mib && *mib > 0) limit = std::min(limit, static_cast<std::uint64_t>(*mib) << 20);  // 0 = all of the node
  return limit;
}

std::string bytes_text(std::uint64_t bytes) {
  constexpr std::array<const char*, 5> kUnits = {"B", "KiB", "MiB", "GiB", "TiB"};
  double n = static_cast<double>(bytes);
  std::size_t unit = 0;
  for (; n >= 1024.0 && unit + 1 < kUnits.size(); ++unit) n /= 1024.0;
  return fmt::format("{:.{}f} {}", n, unit == 0 ? 0 : 1, kUnits[unit]);
}

void check_memory(mpi::Communicator& comm, std::uint64_t bytes, const std::string& what) {
  std::array<std::uint64_t, 4> mine{};
  mpi::collectively(comm, [&] {
    mine = {bytes, kib_after("/proc/self/status", "RssAnon:", 0),
            kib_after("/proc/meminfo", "MemAvailable:", kUnlimited), job_limit()};
  });
  const std::vector<std::string> hosts = comm.gather(host_name());
  const std::vector<std::uint64_t> all = comm.gather(std::span<const std::uint64_t>(mine));
  mpi::collectively(comm, [&] {
    std::map<std::string, Node> nodes;
    for (std::size_t r = 0; r < hosts.size(); ++r) {
      Node& node = nodes[hosts[r]];
      ++node.ranks;
      node.wanted += all[4 * r];
      node.resident += all[4 * r + 1];
      node.free = std::min(node.free, all[4 * r + 2]);
      node.limit = std::min(node.limit, all[4 * r + 3]);
    }
    std::vector<std::string> offenders;
    for (const auto& [host, node] : nodes) {
      const std::uint64_t left = node.limit - std::min(node.limit, node.resident);
      if (node.wanted <= std::min(node.free, left)) continue;
      const std::string found = left < node.free
                                    ? fmt::format("{} left of the job's {}", bytes_text(left), bytes_text(node.limit))
                                    : fmt::format("{} free", bytes_text(node.free));
      offenders.push_back(fmt::format("node {}: expected {} of memory for {} of {} {}, found {}", host,
                                      bytes_text(node.wanted), what, node.ranks, node.ranks == 1 ? "rank" : "ranks",
                                      found));
    }
    if (!offenders.empty()) fail(ExitCode::usage, "{}", fmt::join(offenders, "\n"));
  });
}

}  // namespace fedmpi::federation
