// Where each named tensor of a model lies in its flat parameter vector.
#pragma once

#include <Eigen/Core>
#include <cstddef>
#include <span>
#include <string>
#include <vector>

namespace fedmpi {

using Matrix = Eigen::MatrixXf;  // column-major
using MatrixView = Eigen::Map<Matrix>;
using ConstMatrixView = Eigen::Map<const Matrix>;

struct Tensor {
  std::string layer;               // "dense_1"
  std::string name;                // "kernel", "bias"
  std::vector<std::size_t> shape;  // as files and NumPy show it: a kernel is {inputs, outputs}
  std::size_t offset = 0;          // first element in the flat vector

  std::size_t size() const;
};

class Layout {
 public:
  // Appends a tensor of one or two dimensions behind the others; returns its index.
  std::size_t add(std::string layer, std::string name, std::vector<std::size_t> shape);

  std::size_t size() const { return size_; }  // parameters in all
  const std::vector<Tensor>& tensors() const { return tensors_; }

  // Views of tensor i inside a whole parameter vector; a vector {n} appears as n × 1. A {rows, columns} tensor lies
  // there column by column: the weights of one output of a kernel {inputs, outputs} are contiguous, which is how all
  // products of a dense layer want them.
  MatrixView view(std::span<float> parameters, std::size_t i) const;
  ConstMatrixView view(std::span<const float> parameters, std::size_t i) const;

 private:
  std::vector<Tensor> tensors_;
  std::size_t size_ = 0;
};

}  // namespace fedmpi
