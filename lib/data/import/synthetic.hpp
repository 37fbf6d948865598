// Data that is made, not read.
#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <string_view>

#include "data/source.hpp"

namespace fedmpi::data {

// Synthetic(α, β) of Li et al. 2020 (FedProx), section 5.1: 60 features, 10 classes, natural clients whose
// models differ by α and whose data differ by β. As in the authors' code α and β are standard deviations, and
// a client has ⌊lognormal(4, 2)⌋ + 50 examples.
struct SyntheticOptions {
  double alpha = 0.0, beta = 0.0;
  std::size_t clients = 30;
  std::uint64_t seed = 0;
};
std::unique_ptr<Source> make_synthetic(const SyntheticOptions& options);

}  // namespace fedmpi::data
