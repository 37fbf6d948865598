#include "model/mlp.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>

#include "base/vector.hpp"
#include "model/kernels/dense.hpp"

namespace fedmpi::model {

struct Mlp::Scratch : Workspace {
  std::vector<Vector> values;  // of each layer's outputs: activations; of the last layer: errors
  std::vector<Vector> slopes;  // of each hidden layer: φ'(z)
  std::vector<Vector> errors;  // of each hidden layer: weight · ∂ loss / ∂ z
};

namespace {

// The first `columns` columns of a buffer with that many rows.
MatrixView columns_of(Vector& buffer, std::size_t rows, std::size_t columns) {
  return {buffer.data(), static_cast<Eigen::Index>(rows), static_cast<Eigen::Index>(columns)};
}

ConstMatrixView constant(const MatrixView& m) { return {m.data(), m.rows(), m.cols()}; }

}  // namespace

Mlp::Mlp(std::vector<std::size_t> widths, const kernels::Activation& activation, const kernels::Loss& loss, double l2)
    : Model(l2), widths_(std::move(widths)), activation_(activation), loss_(loss) {
  for (std::size_t l = 0; l < layers(); ++l) {
    const std::string name = fmt::format("dense_{}", l + 1);
    layout_.add(name, "kernel", {widths_[l], widths_[l + 1]}, {.penalised = true});
    layout_.add(name, "bias", {widths_[l + 1]});
  }
}

void Mlp::initialise(Stream& stream, std::span<float> parameters) const {
  if (layers() == 1) {
    std::fill(parameters.begin(), parameters.end(), 0.0F);
    return;
  }
  for (std::size_t l = 0; l < layers(); ++l) {
    const double gain = l + 1 < layers() ? activation_.gain : 1.0;
    const double deviation = std::sqrt(gain / static_cast<double>(widths_[l]));
    for (float& w : layout_.view(parameters, kernel(l)).reshaped()) w = static_cast<float>(deviation * stream.normal());
    layout_.view(parameters, bias(l)).setZero();
  }
}

std::unique_ptr<Workspace> Mlp::workspace(std::size_t rows) const {
  auto scratch = std::make_unique<Scratch>();
  for (std::size_t l = 0; l < layers(); ++l) {
    scratch->values.emplace_back(rows * widths_[l + 1]);
    if (l + 1 == layers()) break;
    scratch->slopes.emplace_back(rows * widths_[l + 1]);
    scratch->errors.emplace_back(rows * widths_[l + 1]);
  }
  return scratch;
}

// Leaves the activations in scratch.values, and in the last of them the errors of the outputs.
Score Mlp::forward(std::span<const float> parameters, const data::Batch& batch, Scratch& scratch) const {
  const std::size_t n = batch.size();
  for (std::size_t l = 0; l < layers(); ++l) {
    const MatrixView outputs = columns_of(scratch.values[l], widths_[l + 1], n);
    const ConstMatrixView inputs = l == 0 ? batch.features : constant(columns_of(scratch.values[l - 1], widths_[l], n));
    kernels::dense_forward(layout_.view(parameters, kernel(l)), layout_.view(parameters, bias(l)), inputs, outputs);
    const std::size_t used = n * widths_[l + 1];
    if (l + 1 < layers())
      activation_.apply(std::span(scratch.values[l]).first(used), std::span(scratch.slopes[l]).first(used));
  }
  Score score = loss_.apply(columns_of(scratch.values.back(), widths_.back(), n), batch);
  score.count = static_cast<double>(n);
  return score;
}

Score Mlp::evaluate(std::span<const float> parameters, const data::Batch& batch, Workspace& workspace) const {
  return forward(parameters, batch, static_cast<Scratch&>(workspace));
}

Score Mlp::add_gradient(std::span<const float> parameters, const data::Batch& batch, float weight,
                        const Accumulator& sum, Workspace& workspace) const {
  auto& scratch = static_cast<Scratch&>(workspace);
  const std::size_t n = batch.size();
  const Score score = forward(parameters, batch, scratch);
  // Backpropagation is linear in the errors, so weighting those of the outputs weights everything below.
  columns_of(scratch.values.back(), widths_.back(), n) *= weight;
  for (std::size_t l = layers(); l-- > 0;) {
    const bool last = l + 1 == layers();
    const ConstMatrixView errors =
        constant(columns_of(last ? scratch.values[l] : scratch.errors[l], widths_[l + 1], n));
    const ConstMatrixView inputs = l == 0 ? batch.features : constant(columns_of(scratch.values[l - 1], widths_[l], n));
    if (l > 0) {  // through the kernel before it may be updated
      MatrixView below = columns_of(scratch.errors[l - 1], widths_[l], n);
      kernels::dense_backward(layout_.view(parameters, kernel(l)), errors, below);
      below.array() *= columns_of(scratch.slopes[l - 1], widths_[l], n).array();
    }
    const auto part = [&](std::size_t i) { return sum.part(layout_.tensors()[i].offset, layout_.tensors()[i].size()); };
    kernels::dense_update(errors, inputs, part(kernel(l)), part(bias(l)));
  }
  return score;
}

}  // namespace fedmpi::model
