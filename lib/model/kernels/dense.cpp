#include "model/kernels/dense.hpp"

#include <algorithm>
#include <array>
#include <utility>

#include "model/kernels/simd.hpp"

namespace fedmpi::model::kernels {

namespace {

// A tile of the result: up to two packs of rows by up to kColumns columns, so that its accumulators leave room for
// the operands among the registers.
constexpr std::size_t kPacks = 2;
constexpr std::size_t kColumns = Pack::registers == 32 ? 12 : 5;
constexpr std::size_t kTileRows = kPacks * Pack::lanes;

// A column-major matrix of the form that a kernel reads.
struct Operand {
  const float* data;
  std::size_t row_step, column_step;
};

// c (rows × columns) += a (rows × depth) · b (depth × columns). `a` and `c` have contiguous rows; b is read element
// by element. With `partial`, only `last` lanes of the last pack of rows count. Every loop over the tile is unrolled
// by force, or the compiler would keep the accumulators in memory.
template <std::size_t packs, std::size_t columns, bool partial>
void multiply_tile(std::size_t depth, std::size_t last, Operand a, Operand b, float* c, std::size_t c_column_step) {
  const auto load = [last](const float* p, std::size_t pack) {
    return partial && pack + 1 == packs ? Pack::load(p + pack * Pack::lanes, last) : Pack::load(p + pack * Pack::lanes);
  };
  Pack sum[packs][columns];
#pragma GCC unroll 16
  for (std::size_t j = 0; j < columns; ++j)
#pragma GCC unroll 2
    for (std::size_t p = 0; p < packs; ++p) sum[p][j] = load(c + j * c_column_step, p);
  for (std::size_t k = 0; k < depth; ++k) {
    Pack left[packs];
#pragma GCC unroll 2
    for (std::size_t p = 0; p < packs; ++p) left[p] = load(a.data + k * a.column_step, p);
#pragma GCC unroll 16
    for (std::size_t j = 0; j < columns; ++j) {
      const Pack right = Pack::all(b.data[k * b.row_step + j * b.column_step]);
#pragma GCC unroll 2
      for (std::size_t p = 0; p < packs; ++p) sum[p][j].add_product(left[p], right);
    }
  }
#pragma GCC unroll 16
  for (std::size_t j = 0; j < columns; ++j)
#pragma GCC unroll 2
    for (std::size_t p = 0; p < packs; ++p) {
      float* to = c + j * c_column_step + p * Pack::lanes;
      if (partial && p + 1 == packs)
        sum[p][j].store(to, last);
      else
        sum[p][j].store(to);
    }
}

using Tile = void (*)(std::size_t, std::size_t, Operand, Operand, float*, std::size_t);
using Tiles = std::array<Tile, kColumns>;  // by columns - 1

template <std::size_t packs, bool partial, std::size_t... columns>
constexpr Tiles tiles(std::index_sequence<columns...>) {
  return {multiply_tile<packs, columns + 1, partial>...};
}

void multiply_tile(std::size_t rows, std::size_t columns, std::size_t depth, Operand a, Operand b, float* c,
                   std::size_t c_column_step) {
  constexpr auto kSequence = std::make_index_sequence<kColumns>();
  static constexpr Tiles kTiles[kPacks][2] = {{tiles<1, false>(kSequence), tiles<1, true>(kSequence)},
                                              {tiles<2, false>(kSequence), tiles<2, true>(kSequence)}};
  const std::size_t packs = (rows + Pack::lanes - 1) / Pack::lanes, last = rows - (packs - 1) * Pack::lanes;
  kTiles[packs - 1][last < Pack::lanes][columns - 1](depth, last, a, b, c, c_column_step);
}

// Calls piece(first, count) for pieces of `total` as equal as can be and at most `largest` long.
template <class Piece>
void for_pieces(std::size_t total, std::size_t largest, Piece piece) {
  const std::size_t pieces = (total + largest - 1) / largest;
  for (std::size_t i = 0; i < pieces; ++i) {
    const std::size_t first = total * i / pieces;
    piece(first, total * (i + 1) / pieces - first);
  }
}

std::size_t size(Eigen::Index n) { return static_cast<std::size_t>(n); }

}  // namespace

void dense_forward(const ConstMatrixView& kernel, const ConstMatrixView& bias, const ConstMatrixView& inputs,
                   MatrixView outputs) {
  const std::size_t out = size(kernel.rows()), in = size(kernel.cols()), n = size(inputs.cols());
  outputs.colwise() = bias.col(0);
  // Depth in blocks whose rows of the kernel stay close to each other in memory while all tiles go over them.
  constexpr std::size_t kDepth = 128;
  for_pieces(n, kColumns, [&](std::size_t j, std::size_t columns) {
    for (std::size_t k = 0; k < in; k += kDepth) {
      const std::size_t depth = std::min(kDepth, in - k);
      for (std::size_t i = 0; i < out; i += kTileRows)
        multiply_tile(std::min(kTileRows, out - i), columns, depth, {kernel.data() + k * out + i, 1, out},
                      {inputs.data() + j * in + k, 1, in}, outputs.data() + j * out + i, out);
    }
  });
}

void dense_update(const ConstMatrixView& errors, const ConstMatrixView& inputs, MatrixView kernel, MatrixView bias) {
  const std::size_t out = size(errors.rows()), in = size(inputs.rows()), n = size(inputs.cols());
  for_pieces(in, kColumns, [&](std::size_t j, std::size_t columns) {
    for (std::size_t i = 0; i < out; i += kTileRows)
      multiply_tile(std::min(kTileRows, out - i), columns, n, {errors.data() + i, 1, out}, {inputs.data() + j, in, 1},
                    kernel.data() + j * out + i, out);
  });
  for (Eigen::Index i = 0; i < errors.cols(); ++i) bias.col(0) += errors.col(i);
}

void dense_backward(const ConstMatrixView& kernel, const ConstMatrixView& errors, MatrixView input_errors,
                    std::span<float> scratch) {
  // As input_errorsᵀ = errorsᵀ · kernel, so that rows of examples are contiguous and no sum runs across a register.
  const std::size_t out = size(kernel.rows()), in = size(kernel.cols()), n = size(errors.cols());
  MatrixView left(scratch.data(), errors.cols(), errors.rows());
  MatrixView result(scratch.data() + n * out, input_errors.cols(), input_errors.rows());
  left = errors.transpose();
  result.setZero();
  for_pieces(in, kColumns, [&](std::size_t j, std::size_t columns) {
    for (std::size_t i = 0; i < n; i += kTileRows)
      multiply_tile(std::min(kTileRows, n - i), columns, out, {left.data() + i, 1, n},
                    {kernel.data() + j * out, 1, out}, result.data() + j * n + i, n);
  });
  input_errors = result.transpose();
}

}  // namespace fedmpi::model::kernels
