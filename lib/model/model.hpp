// What a model is to everything else: a loss over a flat parameter vector, and its gradient.
#pragma once

#include <memory>
#include <span>
#include <string>
#include <vector>

#include "base/accumulator.hpp"
#include "base/layout.hpp"
#include "base/random.hpp"
#include "data/batch.hpp"
#include "data/schema.hpp"

namespace fedmpi::model {

struct Options {
  std::string kind = "softmax";
  std::vector<std::size_t> hidden = {200, 200};  // mlp: widths of the hidden layers
  std::string activation = "relu";               // mlp
  std::string loss = "auto";                     // auto: cross-entropy for classes, squared for numbers
  double l2 = 0.0;                               // λ of the penalty λ/2 · ‖kernels‖²; biases go free
};

// Sums over the examples of a batch.
struct Score {
  double loss = 0.0;    // without the penalty
  double metric = 0.0;  // classification: examples classified correctly; regression: squared error
  double count = 0.0;   // examples

  Score& operator+=(const Score& other) {
    loss += other.loss;
    metric += other.metric;
    count += other.count;
    return *this;
  }
};

// Scratch of one thread, made by the model for batches up to a given size; nothing in it outlives a call.
class Workspace {
 public:
  virtual ~Workspace() = default;
};

class Model {
 public:
  virtual ~Model() = default;

  const Layout& layout() const { return layout_; }
  virtual void initialise(Stream& stream, std::span<float> parameters) const = 0;
  virtual std::unique_ptr<Workspace> workspace(std::size_t rows) const = 0;

  // Adds weight · Σ_i ∇ loss_i(parameters), over the examples of the batch, without the penalty, to `sum`, of which it
  // writes every element, where the gradient is zero too. `sum` may lie in `parameters` itself: with weight -η/n that
  // is a step of SGD, with no gradient held anywhere.
  virtual Score add_gradient(std::span<const float> parameters, const data::Batch& batch, float weight,
                             const Accumulator& sum, Workspace& workspace) const = 0;
  virtual Score evaluate(std::span<const float> parameters, const data::Batch& batch, Workspace& workspace) const = 0;

  double l2() const { return l2_; }
  double penalty(std::span<const float> parameters) const;  // λ/2 · ‖kernels‖²
  void add_penalty_gradient(std::span<const float> parameters,
                            std::span<float> gradient) const;  // += λ · kernels

 protected:
  explicit Model(double l2) : l2_(l2) {}
  Layout layout_;

 private:
  double l2_;
};

// The kinds of model. One row and one file for each: see lib/README.md, "how to add a model".
struct Kind {
  const char* name;
  const char* summary;
  const char* reads;  // options: see Choice in base/options.hpp
  std::unique_ptr<Model> (*make)(const Options& options, const data::Schema& schema);  // Error(usage)
};
std::span<const Kind> kinds();

std::unique_ptr<Model> make(const Options& options, const data::Schema& schema);

}  // namespace fedmpi::model
