#include "aggregate/aggregator.hpp"

#include <array>

#include "base/names.hpp"

namespace fedmpi::aggregate {

namespace {

constexpr std::array<Kind, 3> kKinds = {{
    {"mean", "weighted mean by the exact sum: same bits for any number of ranks", "weights denominator",
     Need::exact_sum, nullptr},
    {"float-mean", "weighted mean by MPI's float32 sum: half the bytes", "weights denominator", Need::float_sum,
     nullptr},
    {"median", "coordinate-wise median, weights ignored (Yin et al. 2018)", "", Need::individual, median},
}};

}  // namespace

std::span<const Kind> kinds() { return kKinds; }

const Kind& kind(const Options& options) {
  if (options.weights != "examples" && options.weights != "equal")
    fail(ExitCode::usage, "aggregate.weights: '{}' is not known; known are examples, equal", options.weights);
  if (options.denominator != "cohort" && options.denominator != "expected")
    fail(ExitCode::usage, "aggregate.denominator: '{}' is not known; known are cohort, expected", options.denominator);
  return find_by_name(kKinds, options.kind, "aggregate.kind");
}

std::uint64_t weight(const Options& options, std::uint64_t examples) {
  return options.weights == "equal" ? std::uint64_t{examples > 0} : examples;
}

}  // namespace fedmpi::aggregate
