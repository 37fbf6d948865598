// y = kernelᵀ · x + bias, of all numbers of a row.
#pragma once

#include "model/layer.hpp"

namespace fedmpi::model::layers {

class Dense : public Layer {
 public:
  // Tensors NAME/kernel {inputs, outputs} and NAME/bias {outputs}. The kernel starts with N(0, gain / inputs) (He et
  // al. 2015), with gain 0 at 0; the bias at 0.
  Dense(Tensors& tensors, const Shape& inputs, const std::string& name, std::size_t outputs, double gain);

  void initialise(Stream& stream, std::span<float> trained, std::span<float> frozen) const override;
  void forward(const Weights& w, const ConstMatrixView& x, MatrixView y, std::span<float> scratch) const override;
  void backward(const Weights& w, const ConstMatrixView& x, MatrixView dy, MatrixView dx, const Accumulator& sum,
                std::span<float> scratch) const override;

 private:
  Parameter kernel_, bias_;
  double deviation_;
};

}  // namespace fedmpi::model::layers
