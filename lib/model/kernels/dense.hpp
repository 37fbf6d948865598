// A dense layer: outputs = kernelᵀ · inputs + bias, for a batch of n examples as columns.
//
// Products of small and odd shapes (10 × 784 × 10 is one) are where general matrix libraries are weak: they pack
// their operands first. Here a tile of the result stays in registers while the operands stream by unpacked. The
// weights of one output are contiguous, so that all three products fill whole registers even where there are fewer
// outputs than a register has lanes. The order of an element's sum depends on the shape of the layer alone, so the
// bits of an example do not depend on the batch around it.
#pragma once

#include "base/accumulator.hpp"
#include "base/layout.hpp"

namespace fedmpi::model::kernels {

// outputs (out × n) = kernelᵀ (out × in) · inputs (in × n) + bias (out × 1)
void dense_forward(const ConstMatrixView& kernel, const ConstMatrixView& bias, const ConstMatrixView& inputs,
                   MatrixView outputs);

// Adds inputs (in × n) · errorsᵀ (n × out) to the kernel and Σ errors to the bias. Added to a gradient this is
// backpropagation; added to the layer's own parameters, with errors scaled by -η, a step of gradient descent.
void dense_update(const ConstMatrixView& errors, const ConstMatrixView& inputs, const Accumulator& kernel,
                  const Accumulator& bias);

// input_errors (in × n) = kernel (in × out) · errors (out × n)
void dense_backward(const ConstMatrixView& kernel, const ConstMatrixView& errors, MatrixView input_errors);

}  // namespace fedmpi::model::kernels
