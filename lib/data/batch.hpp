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
  // What will be read after the examples at hand, set by whoever keeps it in memory: with each row Block::gather
  // prefetches as much of it as a row is long, from the front.
  std::span<const std::byte> to_prefetch;
};

}  // namespace fedmpi::data
