#include "federation/cohort.hpp"

#include <algorithm>
#include <array>
#include <cmath>
#include <unordered_set>

namespace fedmpi::federation {

namespace {

using data::ClientId;

// Every set of that size with equal probability: Floyd's algorithm (Bentley and Floyd 1987).
void uniform(std::uint64_t clients, double expected, Stream& stream, std::vector<ClientId>& cohort) {
  const std::uint64_t size =
      std::min<std::uint64_t>(clients, std::max<std::uint64_t>(1, static_cast<std::uint64_t>(std::llround(expected))));
  std::unordered_set<ClientId> chosen;
  chosen.reserve(size);
  for (std::uint64_t i = clients - size; i < clients; ++i) {
    const ClientId pick = stream.below(i + 1);
    chosen.insert(chosen.contains(pick) ? i : pick);
  }
  cohort.assign(chosen.begin(), chosen.end());
}

// Each client independently with probability q = expected / clients: the gaps between those chosen are
// geometric.
void poisson(std::uint64_t clients, double expected, Stream& stream, std::vector<ClientId>& cohort) {
  const double q = expected / static_cast<double>(clients);
  cohort.clear();
  if (q >= 1.0) {
    for (ClientId i = 0; i < clients; ++i) cohort.push_back(i);
    return;
  }
  const double log_skip = std::log1p(-q);
  for (double i = 0.0;; i += 1.0) {
    i += std::floor(std::log1p(-stream.uniform()) / log_skip);
    if (i >= static_cast<double>(clients)) return;
    cohort.push_back(static_cast<ClientId>(i));
  }
}

constexpr std::array<Sampling, 2> kSamplings = {{
    {"uniform", "a fixed number, without replacement", uniform},
    {"poisson", "each client on its own with the same probability", poisson},
}};

}  // namespace

std::span<const Sampling> samplings() { return kSamplings; }

void draw_cohort(const Sampling& sampling, std::uint64_t clients, double expected, std::uint64_t seed,
                 std::uint64_t round, std::vector<ClientId>& cohort) {
  Stream stream(seed, Purpose::cohort, round);
  sampling.draw(clients, expected, stream, cohort);
  std::sort(cohort.begin(), cohort.end());
}

double expected_cohort(const FederationOptions& options, std::uint64_t clients) {
  const double all = static_cast<double>(clients);
  return options.cohort > 0 ? std::min(all, static_cast<double>(options.cohort)) : options.fraction * all;
}

}  // namespace fedmpi::federation
