#include "base/layout.hpp"

#include <functional>
#include <numeric>

namespace fedmpi {

namespace {

Eigen::Index rows(const Tensor& t) { return static_cast<Eigen::Index>(t.shape.front()); }
Eigen::Index columns(const Tensor& t) { return t.shape.size() == 1 ? 1 : static_cast<Eigen::Index>(t.shape.back()); }

}  // namespace

std::size_t Tensor::size() const {
  return std::accumulate(shape.begin(), shape.end(), std::size_t{1}, std::multiplies<>());
}

std::size_t Layout::add(std::string layer, std::string name, std::vector<std::size_t> shape) {
  tensors_.push_back({std::move(layer), std::move(name), std::move(shape), size_});
  size_ += tensors_.back().size();
  return tensors_.size() - 1;
}

MatrixView Layout::view(std::span<float> parameters, std::size_t i) const {
  const Tensor& t = tensors_[i];
  return {parameters.data() + t.offset, rows(t), columns(t)};
}

ConstMatrixView Layout::view(std::span<const float> parameters, std::size_t i) const {
  const Tensor& t = tensors_[i];
  return {parameters.data() + t.offset, rows(t), columns(t)};
}

}  // namespace fedmpi
