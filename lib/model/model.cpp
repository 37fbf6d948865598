#include "model/model.hpp"

#include <sstream>

namespace fedmpi::model {

namespace {

std::set<std::string> names_in(const std::string& list) {
  std::set<std::string> names;
  std::istringstream stream(list);
  for (std::string name; std::getline(stream, name, ',');) names.insert(name);
  return names;
}

}  // namespace

Model::Model(const Options& options) : tensors_(names_in(options.freeze)), l2_(options.l2) {}

double Model::penalty(std::span<const float> trained) const {
  double sum = 0.0;
  for (const Tensor& t : layout().tensors()) {
    if (!t.options.penalised) continue;
    for (const float w : trained.subspan(t.offset, t.size())) sum += double{w} * double{w};
  }
  return 0.5 * l2_ * sum;
}

void Model::add_penalty_gradient(std::span<const float> trained, std::span<float> gradient) const {
  if (l2_ == 0.0) return;
  const float lambda = static_cast<float>(l2_);
  for (const Tensor& t : layout().tensors()) {
    if (!t.options.penalised) continue;
    for (std::size_t i = t.offset; i < t.offset + t.size(); ++i) gradient[i] += lambda * trained[i];
  }
}

}  // namespace fedmpi::model
