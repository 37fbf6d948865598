#include "model/layers/dense.hpp"

#include <cmath>

#include "model/kernels/dense.hpp"

namespace fedmpi::model::layers {

Dense::Dense(Tensors& tensors, const Shape& inputs, const std::string& name, std::size_t outputs, double gain)
    : Layer({outputs}, name),
      kernel_(tensors.add(name, "kernel", {elements_of(inputs, name), outputs}, {.penalised = true})),
      bias_(tensors.add(name, "bias", {outputs})),
      deviation_(std::sqrt(gain / static_cast<double>(elements_of(inputs, name)))) {}

void Dense::initialise(Stream& stream, std::span<float> trained, std::span<float> frozen) const {
  MatrixView kernel = kernel_.of(trained, frozen);
  if (deviation_ == 0.0)
    kernel.setZero();
  else
    for (float& w : kernel.reshaped()) w = static_cast<float>(deviation_ * stream.normal());
  bias_.of(trained, frozen).setZero();
}

void Dense::forward(const Weights& w, const ConstMatrixView& x, MatrixView y, std::span<float> /*scratch*/) const {
  kernels::dense_forward(kernel_.of(w), bias_.of(w), x, y);
}

void Dense::backward(const Weights& w, const ConstMatrixView& x, MatrixView dy, MatrixView dx, const Accumulator& sum,
                     std::span<float> /*scratch*/) const {
  const ConstMatrixView errors(dy.data(), dy.rows(), dy.cols());
  if (dx.data() != nullptr) kernels::dense_backward(kernel_.of(w), errors, dx);
  if (!kernel_.frozen) kernels::dense_update(errors, x, kernel_.of(sum), bias_.of(sum));
}

}  // namespace fedmpi::model::layers
