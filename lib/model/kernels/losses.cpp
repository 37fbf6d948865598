#include "model/kernels/losses.hpp"

#include <algorithm>
#include <array>
#include <cmath>

namespace fedmpi::model::kernels {

namespace {

using Eigen::Index;

// Of row i; none counts where it is -1.
std::int32_t label(const data::Batch& batch, Index i) { return batch.labels[static_cast<std::size_t>(i)]; }

// Whether y is predicted: the first of the largest outputs. If any is not a number, nothing is.
template <class Column>
bool predicts(const Column& z, Index y, float largest) {
  return z(y) == largest && (z.head(y) < largest).all() && (z.tail(z.size() - y - 1) <= largest).all();
}

// Two classes by one output z = log p(1)/p(0): log(1 + e^z) - y z, without overflow for large |z|.
Score binary_cross_entropy(MatrixView outputs, const data::Batch& batch) {
  Score score;
  for (Index i = 0; i < outputs.cols(); ++i) {
    if (label(batch, i) < 0) {
      outputs(0, i) = 0.0F;
      continue;
    }
    const float z = outputs(0, i), y = static_cast<float>(label(batch, i));
    const float e = std::exp(-std::abs(z));
    score.loss += std::max(z, 0.0F) - y * z + std::log1p(e);
    score.metric += (y > 0.5F ? z > 0.0F : z <= 0.0F) ? 1.0 : 0.0;  // NaN predicts nothing
    score.count += 1.0;
    outputs(0, i) = (z >= 0.0F ? 1.0F : e) / (1.0F + e) - y;
  }
  return score;
}

// e^x of each, in groups of one fixed size, so that all go through vector instructions and the bits of one do not
// depend on its place. What would be smaller than a normal float is 0, since arithmetic on subnormal numbers is slow.
void exponentiate(float* x, std::size_t n) {
  using Group = Eigen::Array<float, 16, 1>;
  constexpr std::size_t kGroup = Group::SizeAtCompileTime;
  const auto exponentials = [](const Group& g) {
    Group e = g.exp();
    for (std::size_t j = 0; j < kGroup; ++j) e.data()[j] = g.data()[j] < -87.0F ? 0.0F : e.data()[j];
    return e;
  };
  std::size_t i = 0;
  for (; i + kGroup <= n; i += kGroup) Eigen::Map<Group>(x + i) = exponentials(Eigen::Map<Group>(x + i));
  Group rest = Group::Zero();
  std::copy(x + i, x + n, rest.data());
  rest = exponentials(rest);
  std::copy_n(rest.data(), n - i, x + i);
}

// Sums short blocks in float, one after another, and these in double: among very many, small ones would not count
// beside one that is large.
float sum_of(const float* x, Index n) {
  constexpr Index kBlock = 128;
  double sum = 0.0;
  for (Index first = 0; first < n; first += kBlock) {
    float block = 0.0F;
    for (Index j = first; j < std::min(n, first + kBlock); ++j) block += x[j];
    sum += double{block};
  }
  return static_cast<float>(sum);
}

// -log softmax(z)[y], with the largest output taken off first.
Score cross_entropy(MatrixView outputs, const data::Batch& batch) {
  if (outputs.rows() == 1) return binary_cross_entropy(outputs, batch);
  Score score;
  for (Index i = 0; i < outputs.cols(); ++i) {
    auto z = outputs.col(i).array();
    const Index y = label(batch, i);
    if (y < 0) {
      z = 0.0F;
      continue;
    }
    const float largest = z.maxCoeff();
    score.metric += predicts(z, y, largest) ? 1.0 : 0.0;
    score.count += 1.0;
    z -= largest;
    score.loss -= z(y);
  }
  exponentiate(outputs.data(), static_cast<std::size_t>(outputs.size()));
  for (Index i = 0; i < outputs.cols(); ++i) {
    auto z = outputs.col(i);
    const Index y = label(batch, i);
    if (y < 0) {
      z.setZero();
      continue;
    }
    const float sum = sum_of(z.data(), z.size());
    score.loss += std::log(sum);
    z /= sum;
    z(y) -= 1.0F;
  }
  return score;
}

// ½ ‖z - t‖², where the target of a class is its unit vector.
Score squared(MatrixView outputs, const data::Batch& batch) {
  Score score;
  const bool classes = !batch.labels.empty();
  for (Index i = 0; i < outputs.cols(); ++i) {
    auto z = outputs.col(i);
    bool right = false;
    if (!classes) {
      z -= batch.targets.col(i);
    } else if (const Index y = label(batch, i); y < 0) {
      z.setZero();
      continue;
    } else {
      right = predicts(z.array(), y, z.maxCoeff());
      z(y) -= 1.0F;
    }
    double error = 0.0;
    for (const float e : z) error += double{e} * double{e};
    score.loss += 0.5 * error;
    score.metric += !classes ? error : right ? 1.0 : 0.0;
    score.count += 1.0;
  }
  return score;
}

constexpr std::array<Loss, 2> kLosses = {{
    {"cross-entropy", "minus the log-probability of the label", true, cross_entropy},
    {"squared", "half the squared distance to the label", false, squared},
}};

}  // namespace

std::span<const Loss> losses() { return kLosses; }

}  // namespace fedmpi::model::kernels
