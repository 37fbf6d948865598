// A model of layers, one after another, with a loss at their end.
#pragma once

#include <utility>

#include "model/kernels/losses.hpp"
#include "model/model.hpp"
#include "model/sequence.hpp"

namespace fedmpi::model {

class Network : public Model {
 public:
  // Of rows of that shape; without layers so far.
  Network(const Options& options, Shape inputs, const kernels::Loss& loss);

  template <class L, class... Args>
  void add(Args&&... args) {
    layers_.add<L>(tensors_, std::forward<Args>(args)...);
  }

  void initialise(Stream& stream, std::span<float> trained, std::span<float> frozen) const override;
  std::size_t workspace_bytes(std::size_t rows) const override;
  std::unique_ptr<Workspace> workspace(std::size_t rows) const override;
  Score add_gradient(const Weights& weights, const data::Batch& batch, float weight, const Accumulator& sum,
                     Workspace& workspace) const override;
  Score evaluate(const Weights& weights, const data::Batch& batch, Workspace& workspace) const override;

 private:
  struct Arena;
  // Forward to the loss; then back(errors of the outputs, scratch).
  template <class Back>
  Score pass(const Weights& weights, const data::Batch& batch, Workspace& workspace, Back back) const;

  Sequence layers_;
  kernels::Loss loss_;
};

}  // namespace fedmpi::model
