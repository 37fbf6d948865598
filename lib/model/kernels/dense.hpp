// A dense layer: outputs = kernel · inputs + bias, for a batch of n examples as columns.
//
// Products of small and odd shapes (10 × 784 × 10 is one) are where general matrix libraries are weak: they pack
// their operands first. Here a tile of the result stays in registers while the operands stream by unpacked. Every
// element is summed in the order of its terms, whatever the tile, so its bits do not depend on the batch around it.
#pragma once

#include <span>

#include "base/layout.hpp"

namespace fedmpi::model::kernels {

// outputs (out × n) = kernel (out × in) · inputs (in × n) + bias (out × 1)
void dense_forward(const ConstMatrixView& kernel, const ConstMatrixView& bias, const ConstMatrixView& inputs,
                   MatrixView outputs);

// kernel (out × in) += errors (out × n) · inputsᵀ (n × in);  bias (out × 1) += Σ errors. Added to a gradient this
// is backpropagation; added to the layer's own parameters, with errors scaled by -η, a step of gradient descent.
void dense_update(const ConstMatrixView& errors, const ConstMatrixView& inputs, MatrixView kernel, MatrixView bias);

// input_errors (in × n) = kernelᵀ · errors; scratch has room for (in + out) · n numbers
void dense_backward(const ConstMatrixView& kernel, const ConstMatrixView& errors, MatrixView input_errors,
                    std::span<float> scratch);

}  // namespace fedmpi::model::kernels
