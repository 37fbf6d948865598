#include "model/kernels/dense.hpp"

#include <algorithm>
#include <array>
#include <type_traits>
#include <utility>

#include "model/kernels/simd.hpp"

namespace fedmpi::model::kernels {

namespace {

// A matrix that is read in whole registers down its contiguous columns, and two that are read element by element. Their
// types say which way they are contiguous, or addresses would take up the general registers.
struct Columns {
  const float* data;
  std::size_t step;

  const float* column(std::size_t j) const { return data + j * step; }
};
struct ElementsByRow {
  const float* data;
  std::size_t step;

  float operator()(std::size_t k, std::size_t j) const { return data[k * step + j]; }
  ElementsByRow from(std::size_t k, std::size_t j) const { return {data + k * step + j, step}; }
};
struct ElementsByColumn {
  const float* data;
  std::size_t step;

  float operator()(std::size_t k, std::size_t j) const { return data[k + j * step]; }
  ElementsByColumn from(std::size_t k, std::size_t j) const { return {data + k + j * step, step}; }
};
struct Result {
  float* data;
  std::size_t step;

  float* column(std::size_t j) const { return data + j * step; }
};

constexpr std::size_t pieces(std::size_t n, std::size_t most) { return (n + most - 1) / most; }

// The length of equal pieces of n things, as few as possible and at most `most` long; the last may be shorter.
constexpr std::size_t equal_piece(std::size_t n, std::size_t most) { return n == 0 ? 0 : pieces(n, pieces(n, most)); }

// n things in as few pieces of at most `most` as possible, equal or one apart, since a narrow last piece would leave
// the arithmetic units waiting. Calls each(first, count, width) for `count` pieces of that width from `first` on.
template <class Each>
void in_pieces(std::size_t n, std::size_t most, Each each) {
  if (n == 0) return;
  const std::size_t count = pieces(n, most), width = pieces(n, count), wide = n - count * (width - 1);
  each(0, wide, width);
  if (wide < count) each(wide * width, count - wide, width - 1);
}

// Tiles are as large as their accumulators leave room for the operands among the registers. Loops over a tile are
// unrolled by force, or the compiler would keep the accumulators in memory.
constexpr bool kManyRegisters = Pack::registers == 32;

// ---- Products whose result has contiguous rows: outer products of a column of a and a row of b.

constexpr std::size_t kPacks = kManyRegisters ? 3 : 2, kColumns = kManyRegisters ? 8 : 5;

// Where such a product goes: c = from + a · b - minus; without data, `from` and `minus` are zero. The usual case has
// code of its own, since with batches of ten the addresses of three matrices are felt.
struct Destination {
  Columns from, minus;
  Result c;

  bool in_place() const { return from.data == c.data && minus.data == nullptr; }

  Destination at(std::size_t row, std::size_t column) const {
    const auto moved = [&](auto m) { return m.data == nullptr ? m : decltype(m){m.column(column) + row, m.step}; };
    return {moved(from), moved(minus), moved(c)};
  }
};

// c (packs of rows × columns) = from + a (rows × depth) · b (depth × columns) - minus. The products are summed before
// they meet `from`, which may be far larger. With `partial`, only `last` lanes of the last pack count.
template <bool in_place, std::size_t packs, std::size_t columns, bool partial, class Elements>
[[gnu::always_inline]] inline void multiply_tile(std::size_t depth, std::size_t last, Columns a, Elements b,
                                                 const Destination& to) {
  const auto load = [last](const float* p, std::size_t pack) __attribute__((always_inline)) {
    return partial && pack + 1 == packs ? Pack::load(p + pack * Pack::lanes, last) : Pack::load(p + pack * Pack::lanes);
  };
  Pack sum[packs][columns];
#pragma GCC unroll 8
  for (std::size_t j = 0; j < columns; ++j)
#pragma GCC unroll 4
    for (std::size_t p = 0; p < packs; ++p) sum[p][j] = Pack::all(0.0F);
  const auto step = [&](std::size_t k) __attribute__((always_inline)) {
    Pack left[packs];
#pragma GCC unroll 4
    for (std::size_t p = 0; p < packs; ++p) left[p] = load(a.column(k), p);
#pragma GCC unroll 8
    for (std::size_t j = 0; j < columns; ++j) {
      const Pack right = Pack::all(b(k, j));
#pragma GCC unroll 4
      for (std::size_t p = 0; p < packs; ++p) sum[p][j].add_product(left[p], right);
    }
  };
  std::size_t k = 0;
  for (; k + 2 <= depth; k += 2) {  // two at a time: with batches of ten the loop itself is felt
    step(k);
    step(k + 1);
  }
  if (k < depth) step(k);
  // All loads before the first store: a partial pack reaches over its neighbour's column, and a load that overlaps a
  // store just made has to wait for it.
  const Columns from = in_place ? Columns{to.c.data, to.c.step} : to.from;
  if (in_place || from.data != nullptr) {
#pragma GCC unroll 8
    for (std::size_t j = 0; j < columns; ++j)
#pragma GCC unroll 4
      for (std::size_t p = 0; p < packs; ++p) sum[p][j].add(load(from.column(j), p));
  }
  if (!in_place && to.minus.data != nullptr) {
#pragma GCC unroll 8
    for (std::size_t j = 0; j < columns; ++j)
#pragma GCC unroll 4
      for (std::size_t p = 0; p < packs; ++p) sum[p][j].subtract(load(to.minus.column(j), p));
  }
#pragma GCC unroll 8
  for (std::size_t j = 0; j < columns; ++j)
#pragma GCC unroll 4
    for (std::size_t p = 0; p < packs; ++p) {
      float* c = to.c.column(j) + p * Pack::lanes;
      if (partial && p + 1 == packs)
        sum[p][j].store(c, last);
      else
        sum[p][j].store(c);
    }
}

// The same for any number of rows, and for `tiles` groups of `columns` columns one after the other.
template <class Elements, bool in_place, std::size_t columns>
void multiply_tiles(std::size_t rows, std::size_t tiles, std::size_t depth, Columns a, Elements b, Destination to) {
  constexpr std::size_t lanes = Pack::lanes;
  for (std::size_t t = 0; t < tiles; ++t, b = b.from(0, columns), to = to.at(0, columns)) {
    std::size_t i = 0;
    const auto tile = [&]<std::size_t packs, bool partial>() __attribute__((always_inline)) {
      multiply_tile<in_place, packs, columns, partial>(depth, rows - i - (packs - 1) * lanes, {a.data + i, a.step}, b,
                                                       to.at(i, 0));
      i += packs * lanes;
    };
    while (i + kPacks * lanes <= rows) tile.template operator()<kPacks, false>();
    if constexpr (kPacks == 3)
      if (i + 2 * lanes <= rows) tile.template operator()<2, false>();
    if (i + lanes <= rows) tile.template operator()<1, false>();
    if (i < rows) tile.template operator()<1, true>();
  }
}

template <class Elements>
using MultiplyTiles = void (*)(std::size_t, std::size_t, std::size_t, Columns, Elements, Destination);

template <class Elements, bool in_place, std::size_t... i>
constexpr std::array<MultiplyTiles<Elements>, sizeof...(i)> multiply_by_columns(std::index_sequence<i...>) {
  return {multiply_tiles<Elements, in_place, i + 1>...};
}

// c (rows × columns) = from + a (rows × depth) · b (depth × columns) - minus
template <class Elements>
void multiply(std::size_t rows, std::size_t columns, std::size_t depth, Columns a, Elements b, const Destination& to) {
  static constexpr auto kInPlace = multiply_by_columns<Elements, true>(std::make_index_sequence<kColumns>());
  static constexpr auto kElsewhere = multiply_by_columns<Elements, false>(std::make_index_sequence<kColumns>());
  // A block of a that stays in the cache while all tiles go over it. By row, the elements of b that a tile needs lie
  // far apart, and where the distance is a power of two few of them find room in the first cache together.
  constexpr std::size_t kDepth = std::is_same_v<Elements, ElementsByRow> ? 32 : 128;
  const std::size_t step = equal_piece(depth, kDepth);
  for (std::size_t k = 0; k < depth; k += step) {
    const Destination block{k == 0 ? to.from : Columns{to.c.data, to.c.step},
                            k + step < depth ? Columns{nullptr, 0} : to.minus, to.c};
    const auto& by_columns = block.in_place() ? kInPlace : kElsewhere;
    in_pieces(columns, kColumns, [&](std::size_t j, std::size_t tiles, std::size_t width) {
      by_columns[width - 1](rows, tiles, std::min(step, depth - k), {a.column(k), a.step}, b.from(k, j),
                            block.at(0, j));
    });
  }
}

// ---- Products of two matrices that are contiguous along the sum: dot products, summed across registers at the end.

// As many sums at a time as hide how long one takes. The operand of which a full tile has less stays in registers, the
// other passes by. With few registers the tile is that of the two which leaves fewer narrow ones behind.
struct Tile {
  std::size_t rows, columns;
};
constexpr Tile kMost = kManyRegisters ? Tile{4, 6} : Tile{6, 3};
constexpr Tile tile_for(std::size_t columns) {
  return kManyRegisters ? kMost : columns % kMost.columns == 0 ? Tile{4, 3} : Tile{6, 2};
}

// c (rows × columns) = start + aᵀ (rows × depth) · b (depth × columns)
template <std::size_t rows, std::size_t columns>
[[gnu::always_inline]] inline void dot_tile(std::size_t depth, Columns a, Columns b, Columns start, Result c) {
  constexpr std::size_t kSums = 4, filled = pieces(rows, kSums) * kSums;  // so many across registers are made at once
  Pack sum[filled][columns];
#pragma GCC unroll 8
  for (std::size_t j = 0; j < columns; ++j)
#pragma GCC unroll 8
    for (std::size_t i = 0; i < filled; ++i) sum[i][j] = Pack::all(0.0F);
  const auto step = [&](auto load) __attribute__((always_inline)) {
    if constexpr (kManyRegisters) {
      Pack left[rows];
#pragma GCC unroll 4
      for (std::size_t i = 0; i < rows; ++i) left[i] = load(a.column(i));
#pragma GCC unroll 8
      for (std::size_t j = 0; j < columns; ++j) {
        Pack right = load(b.column(j));
        right.keep();
#pragma GCC unroll 4
        for (std::size_t i = 0; i < rows; ++i) sum[i][j].add_product(left[i], right);
      }
    } else {
      Pack right[columns];
#pragma GCC unroll 4
      for (std::size_t j = 0; j < columns; ++j) {
        right[j] = load(b.column(j));
        right[j].keep();
      }
#pragma GCC unroll 8
      for (std::size_t i = 0; i < rows; ++i) {
        Pack left = load(a.column(i));
        left.keep();
#pragma GCC unroll 4
        for (std::size_t j = 0; j < columns; ++j) sum[i][j].add_product(left, right[j]);
      }
    }
  };
  std::size_t k = 0;
  for (; k + Pack::lanes <= depth; k += Pack::lanes) step([k](const float* p) { return Pack::load(p + k); });
  if (k < depth) step([k, depth](const float* p) { return Pack::load(p + k, depth - k); });
#pragma GCC unroll 8
  for (std::size_t j = 0; j < columns; ++j)
#pragma GCC unroll 2
    for (std::size_t i = 0; i < rows; i += kSums)
      Pack::add_sums(sum[i][j], sum[i + 1][j], sum[i + 2][j], sum[i + 3][j], start.column(j) + i, c.column(j) + i,
                     std::min(kSums, rows - i));
}

// The same for `tiles` groups of `columns` columns one after the other.
template <std::size_t rows, std::size_t columns>
void dot_tiles(std::size_t tiles, std::size_t depth, Columns a, Columns b, Columns start, Result c) {
  for (std::size_t t = 0; t < tiles; ++t) {
    dot_tile<rows, columns>(depth, a, b, start, c);
    b.data += columns * b.step;
    start.data += columns * start.step;
    c.data += columns * c.step;
  }
}

using DotTiles = void (*)(std::size_t, std::size_t, Columns, Columns, Columns, Result);

template <std::size_t... i>
constexpr std::array<DotTiles, sizeof...(i)> dots_by_shape(std::index_sequence<i...>) {
  return {dot_tiles<i / kMost.columns + 1, i % kMost.columns + 1>...};
}

// c (rows × columns) = start + aᵀ (rows × depth) · b (depth × columns)
void multiply_transposed(std::size_t rows, std::size_t columns, std::size_t depth, Columns a, Columns b, Columns start,
                         Result c) {
  static constexpr auto kByShape = dots_by_shape(std::make_index_sequence<kMost.rows * kMost.columns>());
  // A block of b that stays in the cache while all of a streams by; equal ones, since a narrow last one is slow.
  constexpr std::size_t kDepth = 1024, kColumnsOfBlock = 36;
  const std::size_t step = equal_piece(columns, kColumnsOfBlock);
  for (std::size_t k = 0; k < depth; k += kDepth) {
    const Columns from = k == 0 ? start : Columns{c.data, c.step};
    for (std::size_t first = 0; first < columns; first += step) {
      const std::size_t block = std::min(step, columns - first);
      const Tile tile = tile_for(block);
      for (std::size_t i = 0; i < rows; i += tile.rows)
        in_pieces(block, tile.columns, [&](std::size_t offset, std::size_t tiles, std::size_t width) {
          const std::size_t j = first + offset;
          kByShape[(std::min(tile.rows, rows - i) - 1) * kMost.columns + width - 1](
              tiles, std::min(kDepth, depth - k), {a.column(i) + k, a.step}, {b.column(j) + k, b.step},
              {from.column(j) + i, from.step}, {c.column(j) + i, c.step});
        });
    }
  }
}

std::size_t size(Eigen::Index n) { return static_cast<std::size_t>(n); }

}  // namespace

void dense_forward(const ConstMatrixView& kernel, const ConstMatrixView& bias, const ConstMatrixView& inputs,
                   MatrixView outputs) {
  const std::size_t in = size(kernel.rows()), out = size(kernel.cols()), n = size(inputs.cols());
  multiply_transposed(out, n, in, {kernel.data(), in}, {inputs.data(), in}, {bias.data(), 0}, {outputs.data(), out});
}

void dense_update(const ConstMatrixView& errors, const ConstMatrixView& inputs, const Accumulator& kernel,
                  const Accumulator& bias) {
  const std::size_t in = size(inputs.rows()), out = size(errors.rows()), n = size(inputs.cols());
  const auto columns_of = [](const Accumulator& sum, std::size_t rows) {
    const auto columns = [rows](std::span<const float> s) { return Columns{s.empty() ? nullptr : s.data(), rows}; };
    return Destination{columns(sum.from), columns(sum.minus), {sum.to.data(), rows}};
  };
  multiply(in, out, n, {inputs.data(), in}, ElementsByRow{errors.data(), out}, columns_of(kernel, in));
  const float one = 1.0F;  // a column of ones, all of them this one
  multiply(out, 1, n, {errors.data(), out}, ElementsByRow{&one, 0}, columns_of(bias, out));
}

void dense_backward(const ConstMatrixView& kernel, const ConstMatrixView& errors, MatrixView input_errors) {
  const std::size_t in = size(kernel.rows()), out = size(kernel.cols()), n = size(errors.cols());
  constexpr Columns nothing{nullptr, 0};
  multiply(in, n, out, {kernel.data(), in}, ElementsByColumn{errors.data(), out},
           {nothing, nothing, {input_errors.data(), in}});
}

}  // namespace fedmpi::model::kernels
