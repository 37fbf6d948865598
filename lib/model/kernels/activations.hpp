// Activation functions of hidden layers.
#pragma once

#include <span>

namespace fedmpi::model::kernels {

struct Activation {
  const char* name;
  const char* summary;
  // values: in z, out φ(z), NaN of NaN; slopes: out φ'(z). All of one size.
  void (*apply)(std::span<float> values, std::span<float> slopes);
  // Weights start with variance gain / inputs. With relu's that keeps the variance of what passes through (He et al.
  // 2015); gelu would need 2.35 for it, tanh 2.5.
  float gain;
};

std::span<const Activation> activations();

}  // namespace fedmpi::model::kernels
