// Layers one after another, which together are one layer.
#pragma once

#include <memory>
#include <utility>
#include <vector>

#include "base/vector.hpp"
#include "model/layer.hpp"

namespace fedmpi::model {

class Sequence : public Layer {
 public:
  explicit Sequence(Shape inputs);

  // Appends a layer that is made from the tensors of the model, to which it adds its own, the shape of a row of its
  // inputs, and what else it takes. Error(usage) where it outgrows what can be counted.
  template <class L, class... Args>
  void add(Tensors& tensors, Args&&... args) {
    const std::size_t before = tensors.trained().size();
    auto layer = std::make_unique<L>(tensors, outputs(), std::forward<Args>(args)...);
    append(std::move(layer), tensors.trained().size() > before);
  }

  std::size_t scratch() const override { return 2 * widest_ + floats_; }
  void initialise(Stream& stream, std::span<float> trained, std::span<float> frozen) const override;
  void forward(const Weights& w, const ConstMatrixView& x, MatrixView y, std::span<float> scratch) const override;
  // Goes down to the lowest layer that has something to train, if nobody wants dx.
  void backward(const Weights& w, const ConstMatrixView& x, MatrixView dy, MatrixView dx, const Accumulator& sum,
                std::span<float> scratch) const override;

 private:
  // Offsets in scratch are in floats per row, so they are known before the number of rows is, and multiples of a cache
  // line, so that each matrix begins at one.
  struct Step {
    std::unique_ptr<Layer> layer;
    std::size_t inputs = 0;                                     // numbers of a row
    std::size_t inputs_at = 0, outputs_at = 0, scratch_at = 0;  // not of what the sequence itself gets and gives
    bool overwrites = false;
  };
  void append(std::unique_ptr<Layer> layer, bool trained);
  float* place(std::span<float> scratch, std::size_t rows, std::size_t at) const;
  std::span<float> scratch_of(const Step& step, std::span<float> scratch, std::size_t rows) const;

  std::vector<Step> steps_;
  std::size_t lowest_ = 0;  // layer that has something to train; the number of layers if none has
  // Floats per row. Scratch begins with two matrices for errors, which pass from one to the other on their way down.
  std::size_t widest_ = 0;  // of such a matrix
  std::size_t floats_ = 0;  // of what follows: outputs of each layer but the last, and what it leaves for backward()
};

}  // namespace fedmpi::model
