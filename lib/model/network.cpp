#include "model/network.hpp"

#include "base/vector.hpp"

namespace fedmpi::model {

// The layers' scratch and, behind it, their outputs, of as many rows as the batch has.
struct Network::Arena : Workspace {
  explicit Arena(std::size_t floats) : memory(floats) {}
  Vector memory;
};

Network::Network(const Options& options, Shape inputs, const kernels::Loss& loss)
    : Model(options), layers_(std::move(inputs)), loss_(loss) {}

void Network::initialise(Stream& stream, std::span<float> trained, std::span<float> frozen) const {
  layers_.initialise(stream, trained, frozen);
}

std::size_t Network::workspace_bytes(std::size_t rows) const {
  return elements_of({rows, layers_.scratch() + layers_.width()}, "the values of a batch") * sizeof(float);
}

std::unique_ptr<Workspace> Network::workspace(std::size_t rows) const {
  return std::make_unique<Arena>(workspace_bytes(rows) / sizeof(float));
}

Score Network::evaluate(const Weights& weights, const data::Batch& batch, Workspace& workspace) const {
  return pass(weights, batch, workspace, [](MatrixView, std::span<float>) {});
}

Score Network::add_gradient(const Weights& weights, const data::Batch& batch, float weight, const Accumulator& sum,
                            Workspace& workspace) const {
  return pass(weights, batch, workspace, [&](MatrixView errors, std::span<float> scratch) {
    errors *= weight;  // backpropagation is linear in them, so this weights everything below
    layers_.backward(weights, batch.features, errors, {nullptr, 0, 0}, sum, scratch);
  });
}

template <class Back>
Score Network::pass(const Weights& weights, const data::Batch& batch, Workspace& workspace, Back back) const {
  const std::span<float> memory = static_cast<Arena&>(workspace).memory;
  const Eigen::Index n = batch.features.cols();
  const auto scratch = memory.first(static_cast<std::size_t>(n) * layers_.scratch());
  const MatrixView outputs(memory.data() + scratch.size(), static_cast<Eigen::Index>(layers_.width()), n);
  layers_.forward(weights, batch.features, outputs, scratch);
  const Score score = loss_.apply(outputs, batch);
  back(outputs, scratch);
  return score;
}

}  // namespace fedmpi::model
