#include "model/kernels/losses.hpp"

#include <array>
#include <cmath>

namespace fedmpi::model::kernels {

namespace {

using Eigen::Index;

std::int32_t label(const data::Batch& batch, Index i) { return batch.labels[static_cast<std::size_t>(i)]; }

// Two classes by one output z = log p(1)/p(0): log(1 + e^z) - y z, without overflow for large |z|.
Score binary_cross_entropy(MatrixView outputs, const data::Batch& batch) {
  Score score;
  for (Index i = 0; i < outputs.cols(); ++i) {
    const float z = outputs(0, i), y = static_cast<float>(label(batch, i));
    const float e = std::exp(-std::abs(z));
    score.loss += std::max(z, 0.0F) - y * z + std::log1p(e);
    score.metric += (z > 0.0F) == (y > 0.5F) ? 1.0 : 0.0;
    outputs(0, i) = (z >= 0.0F ? 1.0F : e) / (1.0F + e) - y;
  }
  return score;
}

// -log softmax(z)[y], with the largest output taken off first.
Score cross_entropy(MatrixView outputs, const data::Batch& batch) {
  if (outputs.rows() == 1) return binary_cross_entropy(outputs, batch);
  Score score;
  for (Index i = 0; i < outputs.cols(); ++i) {
    auto z = outputs.col(i).array();
    const Index y = label(batch, i);
    Index predicted = 0;
    const float largest = z.maxCoeff(&predicted);
    const float margin = z(y) - largest;
    z = (z - largest).exp();
    const float sum = z.sum();
    score.loss += std::log(sum) - margin;
    score.metric += predicted == y ? 1.0 : 0.0;
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
    Index predicted = 0;
    if (classes) {
      z.maxCoeff(&predicted);
      z(label(batch, i)) -= 1.0F;
    } else {
      z -= batch.targets.col(i);
    }
    double error = 0.0;
    for (const float e : z) error += double{e} * double{e};
    score.loss += 0.5 * error;
    score.metric += !classes ? error : predicted == label(batch, i) ? 1.0 : 0.0;
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
