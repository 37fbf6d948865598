#include "model/model.hpp"

namespace fedmpi::model {

double Model::penalty(std::span<const float> parameters) const {
  double sum = 0.0;
  for (const Tensor& t : layout_.tensors()) {
    if (!t.options.penalised) continue;
    for (const float w : parameters.subspan(t.offset, t.size())) sum += double{w} * double{w};
  }
  return 0.5 * l2_ * sum;
}

void Model::add_penalty_gradient(std::span<const float> parameters, std::span<float> gradient) const {
  if (l2_ == 0.0) return;
  const float lambda = static_cast<float>(l2_);
  for (const Tensor& t : layout_.tensors()) {
    if (!t.options.penalised) continue;
    for (std::size_t i = t.offset; i < t.offset + t.size(); ++i) gradient[i] += lambda * parameters[i];
  }
}

}  // namespace fedmpi::model
