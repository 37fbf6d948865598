// Losses over the outputs of a network.
#pragma once

#include <span>

#include "base/layout.hpp"
#include "data/batch.hpp"
#include "model/model.hpp"

namespace fedmpi::model::kernels {

struct Loss {
  const char* name;
  const char* summary;
  bool needs_classes;
  // outputs: in the last layer's values (outputs × n), out ∂ loss_i / ∂ outputs of each, zero where a label of -1 does
  // not count. Returns the sums over those that count.
  Score (*apply)(MatrixView outputs, const data::Batch& batch);
};

std::span<const Loss> losses();

}  // namespace fedmpi::model::kernels
