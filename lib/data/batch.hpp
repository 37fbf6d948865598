// The examples that a model sees at once.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>

#include "base/layout.hpp"
#include "base/vector.hpp"
#include "data/schema.hpp"

namespace fedmpi::data {

// A further input of the examples, of a modality of its own, which not every example has.
struct BatchInput {
  ConstMatrixView features;               // features × size; whatever where there is nothing
  std::span<const std::uint8_t> present;  // size: 1 where the example has it, else 0
};

struct Batch {
  ConstMatrixView features{nullptr, 0, 0};  // features × size: an example is a contiguous column
  std::span<const std::int32_t> tokens{};   // of text: size × length, the tokens of an example together; else empty
  // Classification: size; of tokens: size × length, as these lie. A label of -1 does not count. Regression: empty.
  std::span<const std::int32_t> labels{};
  ConstMatrixView targets{nullptr, 0, 0};  // regression: targets × size
  std::span<const BatchInput> inputs{};    // beside the features, in the order that all examples have them
  std::size_t size = 0;                    // examples
  std::size_t length = 1;                  // positions of each: 1 but for text
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
