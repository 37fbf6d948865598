// Activation functions of hidden layers.
#pragma once

#include <span>

namespace fedmpi::model::kernels {

struct Activation {
  const char* name;
  const char* summary;
  // values: in z, out φ(z); slopes: out φ'(z). All of one size.
  void (*apply)(std::span<float> values, std::span<float> slopes);
  // Weights start with variance gain / inputs, which keeps the variance of what passes through.
  float gain;
};

std::span<const Activation> activations();

}  // namespace fedmpi::model::kernels
