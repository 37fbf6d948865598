// What lies where in a flat vector: parameters, an update, what a client keeps between rounds.
#pragma once

#include <Eigen/Core>
#include <cstddef>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "base/error.hpp"

namespace fedmpi {

using Matrix = Eigen::MatrixXf;  // column-major
using MatrixView = Eigen::Map<Matrix>;
using ConstMatrixView = Eigen::Map<const Matrix>;

using Shape = std::vector<std::size_t>;

// The number of elements of that shape; Error(code), with `what` as its subject, where it outgrows what can be counted
// in bytes.
std::size_t elements_of(const Shape& shape, const std::string& what, ExitCode code = ExitCode::usage);

enum class Number { float32, float64 };  // a float64 takes the room of two floats, on an even offset

// What may be said of a tensor beside its name and shape.
struct TensorOptions {
  bool penalised = false;  // the L2 penalty applies
  Number type = Number::float32;
  // Of the exact sum (secure/ring.hpp), where it is fixed; else it follows the largest value seen.
  std::optional<int> exponent = {};
};

struct Tensor {
  std::string layer;       // "dense_1"; empty where there are no layers
  std::string name;        // "kernel", "bias", "control"
  Shape shape;             // as files and NumPy show it: a kernel is {inputs, outputs}
  std::size_t offset = 0;  // first float of the flat vector
  TensorOptions options;

  std::size_t size() const;    // numbers
  std::size_t floats() const;  // that they take the room of
  std::string path() const;    // "dense_1/kernel", or the name alone
  // The same numbers in the same place; what else is said of them may differ.
  bool operator==(const Tensor& other) const;
};

class Layout {
 public:
  // Appends a tensor of one dimension or more behind the others; returns its index. Error(usage) where that is too many
  // numbers.
  std::size_t add(std::string layer, std::string name, Shape shape, TensorOptions options = {});

  // Appends the tensors of another layout; returns the place of its first float.
  std::size_t append(const Layout& other);

  std::size_t size() const { return size_; }  // floats in all
  const std::vector<Tensor>& tensors() const { return tensors_; }
  bool operator==(const Layout&) const = default;

  // Views of float32 tensor i inside a whole vector; a vector {n} appears as n × 1, and of more dimensions the last are
  // the columns. A {…, columns} tensor lies there column by column: the weights of one output of a kernel
  // {inputs, outputs} are contiguous, which is how all products of a dense layer want them.
  MatrixView view(std::span<float> vector, std::size_t i) const;
  ConstMatrixView view(std::span<const float> vector, std::size_t i) const;
  // Tensor i alone.
  template <class T>
  std::span<T> part(std::span<T> vector, std::size_t i) const {
    return vector.subspan(tensors_[i].offset, tensors_[i].floats());
  }

 private:
  std::vector<Tensor> tensors_;
  std::size_t size_ = 0;
};

// The numbers of a float64 tensor, of which the flat vector holds two floats each.
inline std::span<double> as_doubles(std::span<float> floats) {
  return {reinterpret_cast<double*>(floats.data()), floats.size() / 2};
}
inline std::span<const double> as_doubles(std::span<const float> floats) {
  return {reinterpret_cast<const double*>(floats.data()), floats.size() / 2};
}

}  // namespace fedmpi
