#include "model/kernels/activations.hpp"

#include <Eigen/Core>
#include <array>
#include <cmath>
#include <numbers>

namespace fedmpi::model::kernels {

namespace {

using Array = Eigen::Map<Eigen::ArrayXf>;

Array array(std::span<float> x) { return {x.data(), static_cast<Eigen::Index>(x.size())}; }

void relu(std::span<float> z, std::span<float> slope) {
  for (std::size_t i = 0; i < z.size(); ++i) {
    slope[i] = z[i] > 0.0F ? 1.0F : 0.0F;
    z[i] = z[i] <= 0.0F ? 0.0F : z[i];  // NaN stays
  }
}

void tanh(std::span<float> z, std::span<float> slope) {
  Array a = array(z);
  a = a.tanh();
  array(slope) = 1.0F - a.square();
}

void sigmoid(std::span<float> z, std::span<float> slope) {
  Array a = array(z);
  a = a.logistic();
  array(slope) = a * (1.0F - a);
}

// x · Φ(x) with the normal distribution's Φ, exactly and not by its tanh approximation (Hendrycks and Gimpel
// 2016).
void gelu(std::span<float> z, std::span<float> slope) {
  const float inverse_root_2pi = std::numbers::inv_sqrtpi_v<float> / std::numbers::sqrt2_v<float>;
  for (std::size_t i = 0; i < z.size(); ++i) {
    const float x = z[i];
    const float cdf = 0.5F * (1.0F + std::erf(x / std::numbers::sqrt2_v<float>));
    slope[i] = cdf + x * inverse_root_2pi * std::exp(-0.5F * x * x);
    z[i] = x * cdf;
  }
}

constexpr std::array<Activation, 4> kActivations = {{
    {"relu", "max(0, x)", relu, 2.0F},
    {"tanh", "hyperbolic tangent", tanh, 1.0F},
    {"sigmoid", "logistic function", sigmoid, 1.0F},
    {"gelu", "x · Φ(x)", gelu, 2.0F},
}};

}  // namespace

std::span<const Activation> activations() { return kActivations; }

}  // namespace fedmpi::model::kernels
