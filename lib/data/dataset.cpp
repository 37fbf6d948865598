#include "data/dataset.hpp"

#include <algorithm>
#include <array>

#include "base/checksum.hpp"

namespace fedmpi::data {

BatchBuffer::BatchBuffer(const Schema& schema, std::size_t n) : rows(n), features(n * schema.features()) {
  if (schema.task == Task::classification)
    labels.resize(n);
  else
    targets.resize(n * schema.targets);
}

namespace {

// `row_of(i)` is the block's row that becomes column i.
template <class RowOf>
Batch copy_rows(const Block& block, std::size_t n, RowOf row_of, BatchBuffer& buffer) {
  const std::size_t width = block.schema.features();
  const float scale = block.schema.scale, offset = block.schema.offset;
  for (std::size_t i = 0; i < n; ++i) {
    float* out = buffer.features.data() + i * width;
    if (block.schema.type == FeatureType::uint8) {
      const std::uint8_t* in = block.bytes.data() + row_of(i) * width;
      for (std::size_t j = 0; j < width; ++j) out[j] = static_cast<float>(in[j]) * scale + offset;
    } else {
      std::copy_n(block.numbers.data() + row_of(i) * width, width, out);
    }
  }
  const auto columns = static_cast<Eigen::Index>(n);
  Batch batch{{buffer.features.data(), static_cast<Eigen::Index>(width), columns}, {}, {nullptr, 0, 0}};
  if (block.schema.task == Task::classification) {
    for (std::size_t i = 0; i < n; ++i) buffer.labels[i] = block.labels[row_of(i)];
    batch.labels = {buffer.labels.data(), n};
  } else {
    const std::size_t k = block.schema.targets;
    for (std::size_t i = 0; i < n; ++i)
      std::copy_n(block.targets.data() + row_of(i) * k, k, buffer.targets.data() + i * k);
    new (&batch.targets) ConstMatrixView(buffer.targets.data(), static_cast<Eigen::Index>(k), columns);
  }
  return batch;
}

}  // namespace

Batch Block::gather(std::size_t first, std::span<const std::uint32_t> order, BatchBuffer& buffer) const {
  return copy_rows(
      *this, order.size(), [&](std::size_t i) { return first + order[i]; }, buffer);
}

Batch Block::gather(std::size_t first, std::size_t count, BatchBuffer& buffer) const {
  return copy_rows(
      *this, count, [&](std::size_t i) { return first + i; }, buffer);
}

std::uint64_t Block::checksum_of(std::size_t first, std::size_t count) const {
  const std::array<float, 2> form = {schema.scale, schema.offset};
  std::uint64_t sum = checksum(std::as_bytes(std::span(form)));
  const auto add = [&](const auto& values, std::size_t width) {
    if (!values.empty()) sum = checksum(std::as_bytes(std::span(values).subspan(first * width, count * width)), sum);
  };
  add(bytes, schema.features());
  add(numbers, schema.features());
  add(labels, 1);
  add(targets, schema.targets);
  return sum;
}

const Block* Dataset::block_of(ClientId id) const {
  const auto after = std::upper_bound(blocks_.begin(), blocks_.end(), id,
                                      [](ClientId i, const Block& b) { return i < b.first_client; });
  if (after == blocks_.begin()) return nullptr;
  const Block& block = *std::prev(after);
  return id - block.first_client + 1 < block.offsets.size() ? &block : nullptr;
}

ClientExamples Dataset::client(ClientId id) const {
  const Block* block = block_of(id);
  const std::size_t i = id - block->first_client;
  return {id, block, block->offsets[i], block->offsets[i + 1] - block->offsets[i]};
}

std::size_t Dataset::largest_client() const {
  std::size_t largest = 0;
  for (const Block& b : blocks_)
    for (std::size_t i = 0; i + 1 < b.offsets.size(); ++i)
      largest = std::max<std::size_t>(largest, b.offsets[i + 1] - b.offsets[i]);
  return largest;
}

std::size_t Dataset::clients() const {
  std::size_t n = 0;
  for (const Block& b : blocks_) n += b.offsets.empty() ? 0 : b.offsets.size() - 1;
  return n;
}

std::size_t Dataset::memory() const {
  std::size_t bytes = 0;
  for (const Block& b : blocks_)
    bytes += b.bytes.capacity() + 4 * (b.numbers.capacity() + b.labels.capacity() + b.targets.capacity()) +
             8 * b.offsets.capacity();
  return bytes;
}

}  // namespace fedmpi::data
