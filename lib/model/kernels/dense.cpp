#include "model/kernels/dense.hpp"

namespace fedmpi::model::kernels {

void dense_forward(const ConstMatrixView& kernel, const ConstMatrixView& bias, const ConstMatrixView& inputs,
                   MatrixView outputs) {
  outputs.noalias() = kernel * inputs;
  outputs.colwise() += bias.col(0);
}

void dense_gradient(const ConstMatrixView& errors, const ConstMatrixView& inputs, float weight,
                    MatrixView kernel_gradient, MatrixView bias_gradient) {
  kernel_gradient.noalias() += weight * errors * inputs.transpose();
  for (Eigen::Index i = 0; i < errors.cols(); ++i) bias_gradient.col(0) += weight * errors.col(i);
}

void dense_backward(const ConstMatrixView& kernel, const ConstMatrixView& errors, MatrixView input_errors) {
  input_errors.noalias() = kernel.transpose() * errors;
}

}  // namespace fedmpi::model::kernels
