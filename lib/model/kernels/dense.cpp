#include "model/kernels/dense.hpp"

#include <algorithm>
#include <array>
#include <utility>

#include "model/kernels/simd.hpp"

namespace fedmpi::model::kernels {

namespace {

// A tile of the result is up to two packs of rows by up to kColumns columns, so that its accumulators leave room for
// the operands among the registers.
constexpr std::size_t kColumns = Pack::registers == 32 ? 12 : 5;

// A column-major matrix whose rows are contiguous, and one that is read element by element.
struct Columns {
  const float* data;
  std::size_t column_step;
};
struct Elements {
  const float* data;
  std::size_t column_step, row_step;
};

// A tile: c (packs of rows × columns) += a (rows × depth) · b (depth × columns). `a` and `c` have contiguous rows; b is
// read element by element. The products are summed before they meet c, which may be far larger. With `partial`, only
// `last` lanes of the last pack count. Every loop over the tile is unrolled by force, or the compiler would keep the
// accumulators in memory.
template <std::size_t packs, std::size_t columns, bool partial>
[[gnu::always_inline]] inline void multiply_tile(std::size_t depth, std::size_t last, Columns a, Elements b, float* c,
                                                 std::size_t c_column_step) {
  const auto load = [last](const float* p, std::size_t pack) {
    return partial && pack + 1 == packs ? Pack::load(p + pack * Pack::lanes, last) : Pack::load(p + pack * Pack::lanes);
  };
  Pack sum[packs][columns];
#pragma GCC unroll 16
  for (std::size_t j = 0; j < columns; ++j)
#pragma GCC unroll 2
    for (std::size_t p = 0; p < packs; ++p) sum[p][j] = Pack::all(0.0F);
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
  // All loads before the first store: a partial pack reaches over its neighbour's column, and a load that overlaps a
  // store just made has to wait for it.
#pragma GCC unroll 16
  for (std::size_t j = 0; j < columns; ++j)
#pragma GCC unroll 2
    for (std::size_t p = 0; p < packs; ++p) sum[p][j].add(load(c + j * c_column_step, p));
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

// The same for any number of rows, and for `tiles` groups of `columns` columns one after the other.
template <std::size_t columns>
void multiply_tiles(std::size_t rows, std::size_t tiles, std::size_t depth, Columns a, Elements b, float* c,
                    std::size_t c_column_step) {
  constexpr std::size_t lanes = Pack::lanes;
  for (std::size_t t = 0; t < tiles; ++t, b.data += columns * b.column_step, c += columns * c_column_step) {
    std::size_t i = 0;
    const auto tile = [&]<std::size_t packs, bool partial>() {
      multiply_tile<packs, columns, partial>(depth, rows - i - (packs - 1) * lanes, {a.data + i, a.column_step}, b,
                                             c + i, c_column_step);
      i += packs * lanes;
    };
    while (i + 2 * lanes <= rows) tile.template operator()<2, false>();
    if (i + lanes < rows)
      tile.template operator()<2, true>();
    else if (i + lanes == rows)
      tile.template operator()<1, false>();
    else if (i < rows)
      tile.template operator()<1, true>();
  }
}

using MultiplyTiles = void (*)(std::size_t, std::size_t, std::size_t, Columns, Elements, float*, std::size_t);

template <std::size_t... columns>
constexpr std::array<MultiplyTiles, sizeof...(columns)> by_columns(std::index_sequence<columns...>) {
  return {multiply_tiles<columns + 1>...};
}

// c (rows × columns) += a (rows × depth) · b (depth × columns)
void multiply(std::size_t rows, std::size_t columns, std::size_t depth, Columns a, Elements b, float* c,
              std::size_t c_column_step) {
  static constexpr auto kByColumns = by_columns(std::make_index_sequence<kColumns>());
  if (columns == 0) return;
  const std::size_t tiles = (columns + kColumns - 1) / kColumns, width = (columns + tiles - 1) / tiles;
  const std::size_t whole = columns / width, rest = columns % width;
  kByColumns[width - 1](rows, whole, depth, a, b, c, c_column_step);
  if (rest == 0) return;
  b.data += whole * width * b.column_step;
  kByColumns[rest - 1](rows, 1, depth, a, b, c + whole * width * c_column_step, c_column_step);
}

std::size_t size(Eigen::Index n) { return static_cast<std::size_t>(n); }

}  // namespace

void dense_forward(const ConstMatrixView& kernel, const ConstMatrixView& bias, const ConstMatrixView& inputs,
                   MatrixView outputs) {
  const std::size_t out = size(kernel.rows()), in = size(kernel.cols()), n = size(inputs.cols());
  outputs.colwise() = bias.col(0);
  // Depth in blocks whose rows of the kernel stay close to each other in memory while all tiles go over them.
  constexpr std::size_t kDepth = 128;
  for (std::size_t k = 0; k < in; k += kDepth)
    multiply(out, n, std::min(kDepth, in - k), {kernel.data() + k * out, out}, {inputs.data() + k, in, 1},
             outputs.data(), out);
}

void dense_update(const ConstMatrixView& errors, const ConstMatrixView& inputs, MatrixView kernel, MatrixView bias) {
  const std::size_t out = size(errors.rows()), in = size(inputs.rows()), n = size(inputs.cols());
  multiply(out, in, n, {errors.data(), out}, {inputs.data(), 1, in}, kernel.data(), out);
  for (Eigen::Index i = 0; i < errors.rows(); ++i) {
    float sum = 0.0F;
    for (Eigen::Index j = 0; j < errors.cols(); ++j) sum += errors(i, j);
    bias(i, 0) += sum;
  }
}

void dense_backward(const ConstMatrixView& kernel, const ConstMatrixView& errors, MatrixView input_errors,
                    std::span<float> scratch) {
  // As input_errorsᵀ = errorsᵀ · kernel, so that rows of examples are contiguous and no sum runs across a register.
  const std::size_t out = size(kernel.rows()), in = size(kernel.cols()), n = size(errors.cols());
  MatrixView left(scratch.data(), errors.cols(), errors.rows());
  MatrixView result(scratch.data() + n * out, input_errors.cols(), input_errors.rows());
  left = errors.transpose();
  result.setZero();
  multiply(n, in, out, {left.data(), n}, {kernel.data(), out, 1}, result.data(), n);
  input_errors = result.transpose();
}

}  // namespace fedmpi::model::kernels
