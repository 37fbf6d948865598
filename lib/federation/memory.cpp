#include "federation/memory.hpp"

#include <fmt/ranges.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <fstream>
#include <limits>
#include <sstream>
#include <vector>

#include "base/environment.hpp"
#include "base/error.hpp"
#include "base/saturated.hpp"
#include "mpi/messages.hpp"

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

// What a rank says of itself and its node.
struct Claim {
  std::string host;
  std::uint64_t wanted = 0, resident = 0, free = kUnlimited, limit = kUnlimited;

  void travel(auto& words) { words(host, wanted, resident, free, limit); }
};

struct Node {
  std::string host;
  std::uint64_t ranks = 0;
  Saturated wanted, resident;
  std::uint64_t free = kUnlimited, limit = kUnlimited;

  std::uint64_t left_of_limit() const { return limit - std::min(limit, resident.value); }
  std::uint64_t left() const { return std::min(free, left_of_limit()); }
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

std::uint64_t free_memory() { return kib_after("/proc/meminfo", "MemAvailable:", kUnlimited); }

SpareMemory check_memory(mpi::Communicator& comm, std::uint64_t bytes, const std::string& what) {
  Claim mine;
  mpi::collectively(comm, [&] {
    mine = {host_name(), bytes, kib_after("/proc/self/status", "RssAnon:", 0), free_memory(), job_limit()};
  });
  const std::vector<Claim> claims = mpi::gather_words(comm, mine);
  SpareMemory spare;
  mpi::collectively(comm, [&] {
    std::vector<Node> nodes;
    for (const Claim& claim : claims) {
      auto node = std::ranges::find(nodes, claim.host, &Node::host);
      if (node == nodes.end()) node = nodes.insert(node, {claim.host, 0, {}, {}});
      ++node->ranks;
      node->wanted += claim.wanted;
      node->resident += claim.resident;
      node->free = std::min(node->free, claim.free);
      node->limit = std::min(node->limit, claim.limit);
      spare.node.push_back(static_cast<std::uint64_t>(node - nodes.begin()));
    }
    std::vector<std::string> offenders;
    for (const Node& node : nodes) {
      spare.bytes.push_back(node.left() - std::min(node.left(), node.wanted.value));
      if (node.wanted.value <= node.left()) continue;
      const std::string found =
          node.left_of_limit() < node.free
              ? fmt::format("{} left of the job's {}", bytes_text(node.left()), bytes_text(node.limit))
              : fmt::format("{} free", bytes_text(node.free));
      offenders.push_back(fmt::format("node {}: expected {} of memory for {} of {} {}, found {}", node.host,
                                      bytes_text(node.wanted.value), what, node.ranks,
                                      node.ranks == 1 ? "rank" : "ranks", found));
    }
    if (!offenders.empty()) fail(ExitCode::usage, "{}", fmt::join(offenders, "\n"));
  });
  mpi::broadcast_words(comm, spare);
  return spare;
}

}  // namespace fedmpi::federation
