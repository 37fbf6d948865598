// The examples that a model sees at once.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>

#include "base/layout.hpp"
#include "base/vector.hpp"
#include "data/schema.hpp"

namespace fedmpi::data {

struct Batch {
  ConstMatrixView features;              // features × n: an example is a contiguous column
  std::span<const std::int32_t> labels;  // classification: n labels; regression: empty
  ConstMatrixView targets;               // regression: targets × n; classification: 0 × 0

  std::size_t size() const { return static_cast<std::size_t>(features.cols()); }
};

// Aligned room for the largest batch of a thread; filled by Block::gather, allocated once.
struct BatchBuffer {
  BatchBuffer(const Schema& schema, std::size_t rows);

  std::size_t rows;  // capacity
  Vector features;
  AlignedVector<std::int32_t> labels;
  Vector targets;
  // Memory that will be read after this: Block::gather asks for a row's worth of it with each row, since it is slow.
  std::span<const std::byte> ahead;
};

}  // namespace fedmpi::data
