#include "base/layout.hpp"

#include <fmt/ranges.h>

#include <functional>
#include <numeric>

namespace fedmpi {

namespace {

Eigen::Index columns(const Tensor& t) { return t.shape.size() == 1 ? 1 : static_cast<Eigen::Index>(t.shape.back()); }

Eigen::Index rows(const Tensor& t) {
  const Eigen::Index n = columns(t);
  return n == 0 ? 0 : static_cast<Eigen::Index>(t.size()) / n;
}

void check_view(const Tensor& t, std::size_t floats) {
  if (t.options.type != Number::float32 || t.offset + t.floats() > floats)
    fail(ExitCode::bug, "{}: expected float32 numbers up to {}, found a vector of {}", t.path(), t.offset + t.floats(),
         floats);
}

}  // namespace

std::size_t elements_of(const Shape& shape, const std::string& what, ExitCode code) {
  std::size_t size = 1, bytes = 0;
  for (const std::size_t n : shape)
    if (__builtin_mul_overflow(size, n, &size) || __builtin_mul_overflow(size, sizeof(double), &bytes))
      fail(code, "{}: expected fewer than 2^61 numbers, found {}", what, fmt::join(shape, " × "));
  return size;
}

std::size_t Tensor::size() const {
  return std::accumulate(shape.begin(), shape.end(), std::size_t{1}, std::multiplies<>());
}

std::size_t Tensor::floats() const { return options.type == Number::float64 ? 2 * size() : size(); }

std::string Tensor::path() const { return layer.empty() ? name : layer + "/" + name; }

bool Tensor::operator==(const Tensor& other) const {
  return layer == other.layer && name == other.name && shape == other.shape && offset == other.offset &&
         options.type == other.options.type;
}

std::size_t Layout::add(std::string layer, std::string name, Shape shape, TensorOptions options) {
  Tensor tensor{std::move(layer), std::move(name), std::move(shape), size_, options};
  elements_of(tensor.shape, tensor.path());
  if (options.type == Number::float64) tensor.offset += tensor.offset % 2;
  if (__builtin_add_overflow(tensor.offset, tensor.floats(), &size_) || size_ >= (std::size_t{1} << 61))
    fail(ExitCode::usage, "{}: expected fewer than 2^61 numbers in all, found more", tensor.path());
  tensors_.push_back(std::move(tensor));
  return tensors_.size() - 1;
}

std::size_t Layout::append(const Layout& other) {
  for (const Tensor& t : other.tensors())
    if (t.options.type == Number::float64 && size_ % 2 == 1) ++size_;
  const std::size_t begin = size_;
  for (const Tensor& t : other.tensors()) add(t.layer, t.name, t.shape, t.options);
  return begin;
}

MatrixView Layout::view(std::span<float> vector, std::size_t i) const {
  const Tensor& t = tensors_[i];
  check_view(t, vector.size());
  return {vector.data() + t.offset, rows(t), columns(t)};
}

ConstMatrixView Layout::view(std::span<const float> vector, std::size_t i) const {
  const Tensor& t = tensors_[i];
  check_view(t, vector.size());
  return {vector.data() + t.offset, rows(t), columns(t)};
}

}  // namespace fedmpi
