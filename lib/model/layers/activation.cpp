#include "model/layers/activation.hpp"

#include <algorithm>

namespace fedmpi::model::layers {

Activation::Activation(Tensors& /*tensors*/, const Shape& inputs, const kernels::Activation& function)
    : Layer(inputs), function_(function) {}

void Activation::forward(const Weights& /*w*/, const ConstMatrixView& x, MatrixView y, std::span<float> scratch) const {
  const std::size_t n = static_cast<std::size_t>(y.size());
  if (x.data() != y.data()) std::copy_n(x.data(), n, y.data());
  function_.apply({y.data(), n}, scratch.first(n));
}

void Activation::backward(const Weights& /*w*/, const ConstMatrixView& /*x*/, MatrixView dy, MatrixView dx,
                          const Accumulator& /*sum*/, std::span<float> scratch) const {
  if (dx.data() != nullptr) dx.array() = dy.array() * MatrixView(scratch.data(), dy.rows(), dy.cols()).array();
}

}  // namespace fedmpi::model::layers
