// A dense layer: outputs = kernel · inputs + bias, for a batch of n examples as columns.
#pragma once

#include "base/layout.hpp"

namespace fedmpi::model::kernels {

// outputs (out × n) = kernel (out × in) · inputs (in × n) + bias (out × 1)
void dense_forward(const ConstMatrixView& kernel, const ConstMatrixView& bias, const ConstMatrixView& inputs,
                   MatrixView outputs);

// kernel_gradient (out × in) += weight · errors (out × n) · inputsᵀ;  bias_gradient += weight · Σ errors
void dense_gradient(const ConstMatrixView& errors, const ConstMatrixView& inputs, float weight,
                    MatrixView kernel_gradient, MatrixView bias_gradient);

// input_errors (in × n) = kernelᵀ · errors
void dense_backward(const ConstMatrixView& kernel, const ConstMatrixView& errors, MatrixView input_errors);

}  // namespace fedmpi::model::kernels
