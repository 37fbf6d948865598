// What a model is to everything else: a loss over a flat parameter vector, and its gradient.
#pragma once

#include <memory>
#include <span>
#include <string>
#include <vector>

#include "base/random.hpp"
#include "data/batch.hpp"
#include "data/schema.hpp"
#include "model/weights.hpp"

namespace fedmpi::model {

struct Options {
  std::string kind = "softmax";
  std::vector<std::size_t> hidden = {200, 200};  // mlp: widths of the hidden layers
  std::string activation = "relu";               // mlp
  std::string loss = "auto";                     // auto: cross-entropy for classes, squared for numbers
  double l2 = 0.0;                               // λ of the penalty λ/2 · ‖kernels‖²; biases go free
  std::string freeze = {};                       // layers that are not trained: names with commas between
};

// Sums over what counts in a batch: each label but -1, and in regression each example.
struct Score {
  double loss = 0.0;    // without the penalty
  double metric = 0.0;  // classification: labels predicted correctly; regression: squared error
  double count = 0.0;   // what the sums are over

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

  const Layout& layout() const { return tensors_.trained(); }
  const Layout& frozen() const { return tensors_.frozen(); }  // of the weights that nothing changes; mostly empty
  // The same values, wherever a tensor lies: freezing a layer changes neither its own nor those of others.
  virtual void initialise(Stream& stream, std::span<float> trained, std::span<float> frozen = {}) const = 0;
  // For batches of so many rows, which are examples. Error(usage) where it is more than can be counted.
  virtual std::size_t workspace_bytes(std::size_t rows) const = 0;
  virtual std::unique_ptr<Workspace> workspace(std::size_t rows) const = 0;

  // Adds weight · Σ_i ∇ loss_i(weights), over what counts in the batch, without the penalty, to `sum`, of which it
  // writes every element, where the gradient is zero too.
  virtual Score add_gradient(const Weights& weights, const data::Batch& batch, float weight, const Accumulator& sum,
                             Workspace& workspace) const = 0;
  virtual Score evaluate(const Weights& weights, const data::Batch& batch, Workspace& workspace) const = 0;
  // Whether that sum may lie in the trained weights themselves: with weight -η/n it is a step of SGD then, with no
  // gradient held anywhere. Not if weights are read again after a part of their gradient has been added.
  virtual bool in_place() const { return true; }

  // Error(usage) unless the layers to freeze are there, and others to train.
  void check_freeze() const { tensors_.check(); }

  double l2() const { return l2_; }
  double penalty(std::span<const float> trained) const;  // λ/2 · ‖kernels‖²
  void add_penalty_gradient(std::span<const float> trained,
                            std::span<float> gradient) const;  // += λ · kernels

 protected:
  explicit Model(const Options& options);
  Tensors tensors_;  // with the layers to freeze

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
