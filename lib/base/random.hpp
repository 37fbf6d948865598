// Randomness as a function of (seed, purpose, round, client): Philox4x32-10, a counter-based generator.
// Salmon, Moraes, Dror and Shaw, "Parallel random numbers: as easy as 1, 2, 3", SC 2011. Nothing is stored
// between rounds, so a draw does not depend on the rank, the thread or a restart. Not for keys or privacy
// noise.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <span>
#include <utility>

namespace fedmpi {

// What a draw is for. The numbers are part of what "same seed, same bits" means: never renumber.
enum class Purpose : std::uint32_t { initialise = 1, cohort = 2, order = 3, partition = 4, generate = 5, holdout = 6 };

class Stream {
 public:
  Stream(std::uint64_t seed, Purpose purpose, std::uint64_t round = 0, std::uint64_t client = 0);

  std::uint32_t bits();                       // 32 random bits
  double uniform();                           // [0, 1), 53 bits
  std::uint64_t below(std::uint64_t n);       // 0 … n-1 without bias; n > 0
  double normal();                            // N(0, 1), Box–Muller
  double gamma(double shape);                 // Gamma(shape, 1), Marsaglia and Tsang 2000
  void dirichlet(std::span<double> mixture);  // in: concentrations > 0; out: proportions that sum to 1

  // Fisher–Yates.
  template <class T>
  void shuffle(std::span<T> items) {
    for (std::size_t n = items.size(); n > 1; --n) std::swap(items[n - 1], items[below(n)]);
  }

 private:
  std::array<std::uint32_t, 2> key_;
  std::array<std::uint32_t, 4> counter_;  // block number, round, client (two words)
  std::array<std::uint32_t, 4> block_{};
  unsigned used_ = 4;
};

// The Philox4x32-10 block function, for its published test vectors.
std::array<std::uint32_t, 4> philox(std::array<std::uint32_t, 4> counter, std::array<std::uint32_t, 2> key);

}  // namespace fedmpi
