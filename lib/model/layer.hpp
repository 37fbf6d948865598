// A layer: a function of its inputs and of some of the model's weights, and its derivatives.
//
// A row is one example, or one position of one. Inputs x and outputs y are matrices whose columns are rows; what the
// loss changes by with them, their errors, are matrices dx and dy of the same shapes. How a layer is made: see
// Sequence::add. One file for each in layers/, and a row in tests/model/layer_test.cpp: see lib/README.md.
#pragma once

#include "base/random.hpp"
#include "model/weights.hpp"

namespace fedmpi::model {

class Layer {
 public:
  virtual ~Layer() = default;

  const Shape& outputs() const { return outputs_; }  // of one row
  std::size_t width() const { return width_; }       // numbers in them
  // Floats per row that forward() may leave for backward() beside the outputs.
  virtual std::size_t scratch() const { return 0; }
  // Whether y may be the memory of x, and dx that of dy.
  virtual bool may_overwrite() const { return false; }

  // Draws the layer's weights, frozen or not, and so the same ones from the same stream.
  virtual void initialise(Stream& /*stream*/, std::span<float> /*trained*/, std::span<float> /*frozen*/) const {}

  virtual void forward(const Weights& w, const ConstMatrixView& x, MatrixView y, std::span<float> scratch) const = 0;

  // After forward() with the same x and scratch; y may be overwritten since. Puts dx in its place, unless that has no
  // data: then nobody wants it. Adds the gradient of the layer's trained weights to `sum`, of which it writes every
  // element of theirs, by Accumulator. `sum` may lie in the weights themselves, so dx comes first. dy may be
  // overwritten.
  virtual void backward(const Weights& w, const ConstMatrixView& x, MatrixView dy, MatrixView dx,
                        const Accumulator& sum, std::span<float> scratch) const = 0;

 protected:
  explicit Layer(Shape outputs, const std::string& name = "a layer") { give(std::move(outputs), name); }
  void give(Shape outputs, const std::string& name = "a layer") {
    width_ = elements_of(outputs, name);
    outputs_ = std::move(outputs);
  }

 private:
  Shape outputs_;
  std::size_t width_ = 0;
};

}  // namespace fedmpi::model
