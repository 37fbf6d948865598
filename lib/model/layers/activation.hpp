// y = φ(x), number by number: kernels/activations.hpp has the table of φ.
#pragma once

#include "model/kernels/activations.hpp"
#include "model/layer.hpp"

namespace fedmpi::model::layers {

class Activation : public Layer {
 public:
  Activation(Tensors& tensors, const Shape& inputs, const kernels::Activation& function);

  std::size_t scratch() const override { return width(); }  // φ'(x)
  bool may_overwrite() const override { return true; }
  void forward(const Weights& w, const ConstMatrixView& x, MatrixView y, std::span<float> scratch) const override;
  void backward(const Weights& w, const ConstMatrixView& x, MatrixView dy, MatrixView dx, const Accumulator& sum,
                std::span<float> scratch) const override;

 private:
  kernels::Activation function_;
};

}  // namespace fedmpi::model::layers
