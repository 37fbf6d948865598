// The numbers of a model: those that training changes, and those that it does not.
#pragma once

#include <concepts>
#include <set>
#include <span>
#include <string>

#include "base/accumulator.hpp"
#include "base/layout.hpp"

namespace fedmpi::model {

// Two flat vectors, as Model::layout() and Model::frozen() describe them; a vector alone is one of trained weights.
struct Weights {
  template <std::convertible_to<std::span<const float>> T>
  Weights(const T& all_trained) : trained(all_trained) {}
  Weights(std::span<const float> t, std::span<const float> f) : trained(t), frozen(f) {}

  std::span<const float> trained, frozen;
};

// A tensor of a layer, in whichever of the two vectors it lies.
struct Parameter {
  const Layout* layout;
  std::size_t index;
  bool frozen;

  ConstMatrixView of(const Weights& w) const { return layout->view(frozen ? w.frozen : w.trained, index); }
  MatrixView of(std::span<float> trained, std::span<float> frozen_weights) const {
    return layout->view(frozen ? frozen_weights : trained, index);
  }
  // Where the gradient of a trained one is added up.
  Accumulator of(const Accumulator& sum) const {
    const Tensor& t = layout->tensors()[index];
    return sum.part(t.offset, t.floats());
  }
};

// The tensors of a model. Layers add theirs, and learn from the parameters they get whether these are trained. Stays
// where it is while there are any.
class Tensors {
 public:
  explicit Tensors(std::set<std::string> frozen_layers = {}) : frozen_layers_(std::move(frozen_layers)) {}
  Tensors(const Tensors&) = delete;

  Parameter add(const std::string& layer, std::string name, Shape shape, TensorOptions options = {}) {
    const bool freeze = frozen_layers_.contains(layer);
    Layout& layout = freeze ? frozen_ : trained_;
    return {&layout, layout.add(layer, std::move(name), std::move(shape), options), freeze};
  }

  const Layout& trained() const { return trained_; }
  const Layout& frozen() const { return frozen_; }
  // Error(usage), about model.freeze, unless the layers to freeze are there, and others to train.
  void check() const;

 private:
  std::set<std::string> frozen_layers_;
  Layout trained_, frozen_;
};

}  // namespace fedmpi::model
