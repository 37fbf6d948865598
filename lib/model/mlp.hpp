// A multi-layer perceptron of any widths; without hidden layers, a linear model.
#pragma once

#include <vector>

#include "model/kernels/activations.hpp"
#include "model/kernels/losses.hpp"
#include "model/model.hpp"

namespace fedmpi::model {

class Mlp : public Model {
 public:
  // widths: inputs, hidden layers, outputs. Tensors are dense_1/kernel {inputs, outputs}, dense_1/bias, ….
  Mlp(std::vector<std::size_t> widths, const kernels::Activation& activation, const kernels::Loss& loss, double l2);

  // Kernels ~ N(0, gain / inputs) (He et al. 2015), the last with gain 1; biases 0. Without hidden layers the
  // objective is convex and everything starts at 0.
  void initialise(Stream& stream, std::span<float> parameters) const override;
  std::unique_ptr<Workspace> workspace(std::size_t rows) const override;
  Score add_gradient(std::span<const float> parameters, const data::Batch& batch, float weight, const Accumulator& sum,
                     Workspace& workspace) const override;
  Score evaluate(std::span<const float> parameters, const data::Batch& batch, Workspace& workspace) const override;

 private:
  struct Scratch;
  std::size_t layers() const { return widths_.size() - 1; }
  std::size_t kernel(std::size_t layer) const { return 2 * layer; }  // indices of tensors in the layout
  std::size_t bias(std::size_t layer) const { return 2 * layer + 1; }
  Score forward(std::span<const float> parameters, const data::Batch& batch, Scratch& scratch) const;

  std::vector<std::size_t> widths_;
  kernels::Activation activation_;
  kernels::Loss loss_;
};

}  // namespace fedmpi::model
