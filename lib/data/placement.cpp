#include "data/placement.hpp"

#include <algorithm>
#include <functional>
#include <numeric>
#include <queue>
#include <utility>

namespace fedmpi::data {

namespace {

// Cuts one file into about `pieces` runs of clients of nearly equal cost; a run has at least one client.
void cut(std::uint64_t file, std::span<const std::uint64_t> sizes, std::size_t pieces, std::vector<Unit>& units) {
  const std::uint64_t total = std::accumulate(sizes.begin(), sizes.end(), std::uint64_t{0});
  const std::uint64_t share = std::max<std::uint64_t>(1, (total + pieces - 1) / pieces);
  for (std::size_t c = 0; c < sizes.size();) {
    Unit unit{file, c, 0, 0, 0};
    do unit.examples += sizes[c++];
    while (c < sizes.size() && unit.examples + sizes[c] / 2 < share);
    unit.clients = c - unit.first_client;
    units.push_back(unit);
  }
}

// Halves runs of clients, the largest first, until there is one for every participant, as far as there are clients.
void cut_further(const std::vector<std::vector<std::uint64_t>>& sizes, std::size_t participants,
                 std::vector<Unit>& units) {
  while (units.size() < participants) {
    const auto largest = std::max_element(units.begin(), units.end(), [](const Unit& a, const Unit& b) {
      return std::pair(a.clients > 1, a.examples) < std::pair(b.clients > 1, b.examples);
    });
    if (largest->clients < 2) return;
    Unit second = *largest;
    largest->clients /= 2;
    second.first_client += largest->clients;
    second.clients -= largest->clients;
    const auto first = sizes[second.file].begin() + static_cast<std::ptrdiff_t>(second.first_client);
    second.examples = std::accumulate(first, first + static_cast<std::ptrdiff_t>(second.clients), std::uint64_t{0});
    largest->examples -= second.examples;
    units.insert(largest + 1, second);
  }
}

}  // namespace

void hand_out(std::span<Unit* const> units, std::span<const std::uint64_t> bytes, std::span<Host> hosts,
              std::span<std::uint64_t> spare) {
  std::vector<std::size_t> order(units.size());
  std::iota(order.begin(), order.end(), std::size_t{0});
  std::stable_sort(order.begin(), order.end(),
                   [&](std::size_t a, std::size_t b) { return units[a]->examples > units[b]->examples; });
  using Load = std::pair<std::uint64_t, std::size_t>;  // examples, index of the host
  std::priority_queue<Load, std::vector<Load>, std::greater<>> loads;
  for (std::size_t h = 0; h < hosts.size(); ++h) loads.emplace(hosts[h].examples, h);
  std::vector<Load> full;
  for (const std::size_t i : order) {
    Unit& unit = *units[i];
    unit.participant = kNobody;
    full.clear();
    for (; !loads.empty() && unit.participant == kNobody; loads.pop()) {
      Host& host = hosts[loads.top().second];
      const std::uint64_t takes = std::min(bytes[i], host.may_hold - std::min(host.may_hold, host.bytes));
      if (takes > spare[host.node]) {
        full.push_back(loads.top());
        continue;
      }
      spare[host.node] -= takes;
      host.bytes += takes;
      host.examples += std::max<std::uint64_t>(1, unit.examples);
      unit.participant = host.participant;
      full.emplace_back(host.examples, loads.top().second);
    }
    for (const Load& load : full) loads.push(load);
  }
}

std::vector<Unit> place(const std::vector<std::vector<std::uint64_t>>& sizes, std::size_t participants) {
  std::vector<Unit> units;
  if (sizes.size() >= participants) {
    for (std::size_t f = 0; f < sizes.size(); ++f) cut(f, sizes[f], 1, units);
  } else {
    std::uint64_t total = 0;
    for (const auto& s : sizes) total = std::accumulate(s.begin(), s.end(), total);
    // Eight pieces a participant, so that the largest-first rule evens out within a few per cent.
    const std::uint64_t share = std::max<std::uint64_t>(1, total / (8 * participants));
    for (std::size_t f = 0; f < sizes.size(); ++f) {
      const std::uint64_t of_file = std::accumulate(sizes[f].begin(), sizes[f].end(), std::uint64_t{0});
      cut(f, sizes[f], std::max<std::uint64_t>(1, of_file / share), units);
    }
    cut_further(sizes, participants, units);
  }

  std::vector<Unit*> all;
  for (Unit& u : units) all.push_back(&u);
  std::vector<Host> hosts(participants);
  for (std::size_t p = 0; p < participants; ++p) hosts[p].participant = p;
  std::uint64_t memory = UINT64_MAX;
  hand_out(all, std::vector<std::uint64_t>(units.size(), 0), hosts, std::span(&memory, 1));
  return units;
}

}  // namespace fedmpi::data
