#include "data/dataset.hpp"

#include <algorithm>
#include <array>
#include <iterator>

#include "base/checksum.hpp"
#include "data/prefetcher.hpp"

namespace fedmpi::data {

BatchBuffer::BatchBuffer(const Schema& schema, std::size_t n) : rows(n), features(n * schema.features()) {
  if (schema.task == Task::classification)
    labels.resize(n);
  else
    targets.resize(n * schema.targets);
}

namespace {

constexpr std::size_t kPrefetched = 1 << 16;  // bytes, of one client: more would drive out what is in use

void prefetch(std::span<const std::byte> memory) {
  constexpr std::size_t kLine = 64;
  for (std::size_t j = 0; j < memory.size(); j += kLine)
    __builtin_prefetch(&memory[j], 0, 2);  // for reading, into the second-level cache
}

// `row_of(i)` is the block's row that becomes column i.
template <class RowOf>
Batch copy_rows(const Block& block, std::size_t n, RowOf row_of, BatchBuffer& buffer) {
  const std::size_t width = block.schema.features();
  const std::size_t row_bytes = block.schema.row_bytes();
  const float scale = block.schema.scale, offset = block.schema.offset;
  for (std::size_t i = 0; i < n; ++i) {
    float* out = buffer.features.data() + i * width;
    const auto some = buffer.to_prefetch.first(std::min(buffer.to_prefetch.size(), row_bytes));
    prefetch(some);
    buffer.to_prefetch = buffer.to_prefetch.subspan(some.size());
    if (block.schema.type == FeatureType::uint8) {
      const std::uint8_t* in = block.bytes.data() + row_of(i) * width;
      for (std::size_t j = 0; j < width; ++j) out[j] = static_cast<float>(in[j]) * scale + offset;
    } else {
      std::copy_n(block.numbers.data() + row_of(i) * width, width, out);
    }
  }
  const auto columns = static_cast<Eigen::Index>(n);
  Batch batch{.features = {buffer.features.data(), static_cast<Eigen::Index>(width), columns}, .size = n};
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

std::span<const std::byte> Block::stored(std::size_t first, std::size_t count) const {
  if (on_file) return {};
  const auto all =
      schema.type == FeatureType::uint8 ? std::as_bytes(std::span(bytes)) : std::as_bytes(std::span(numbers));
  const std::size_t row = schema.row_bytes();
  return all.subspan(first * row, count * row);
}

void Block::prefetch(std::size_t first, std::span<const std::uint32_t> order) const {
  for (const std::uint32_t i : order.first(std::min(order.size(), kPrefetched / schema.row_bytes())))
    data::prefetch(stored(first + i, 1));
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

void Block::prefetch(std::size_t row) const {
  const std::size_t width = schema.features();
  if (on_file) return;
  if (!bytes.empty()) __builtin_prefetch(bytes.data() + row * width);
  if (!numbers.empty()) __builtin_prefetch(numbers.data() + row * width);
  if (!labels.empty()) __builtin_prefetch(labels.data() + row);
  if (!targets.empty()) __builtin_prefetch(targets.data() + row * schema.targets);
}

std::uint64_t Block::checksum_of_run(std::size_t run) const {
  return on_file ? on_file->checksums[run] : checksum_of(offsets[run], offsets[run + 1] - offsets[run]);
}

std::span<const std::byte> ClientExamples::to_prefetch() const {
  return block->stored(first, std::min(size, kPrefetched / block->schema.row_bytes()));
}

Dataset::Dataset() : Dataset(std::vector<Block>()) {}

Dataset::Dataset(std::vector<Block> blocks) : Dataset(std::move(blocks), std::make_unique<Prefetcher>()) {}

Dataset::Dataset(std::vector<Block> blocks, std::unique_ptr<Prefetcher> prefetcher)
    : blocks_(std::move(blocks)), prefetcher_(std::move(prefetcher)) {}

void Dataset::add(Dataset other) {
  std::move(other.blocks_.begin(), other.blocks_.end(), std::back_inserter(blocks_));
  std::sort(blocks_.begin(), blocks_.end(),
            [](const Block& a, const Block& b) { return a.first_client < b.first_client; });
  // One prefetcher will do, if its places are large enough for the clients of both.
  if (other.prefetcher_->place_bytes() > prefetcher_->place_bytes()) prefetcher_ = std::move(other.prefetcher_);
}

Dataset::Dataset(Dataset&&) noexcept = default;
Dataset& Dataset::operator=(Dataset&&) noexcept = default;
Dataset::~Dataset() = default;

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

void Dataset::find(std::span<const ClientId> ids, std::vector<ClientExamples>& found) const {
  // Few of many clients are asked for, so nothing of them is in a cache: what is needed first is asked for ahead.
  constexpr std::size_t kAhead = 16;
  const Block* block = nullptr;
  const auto offset_of = [&](ClientId id) -> const std::uint64_t* {
    if (block == nullptr || id - block->first_client >= block->runs()) block = block_of(id);
    return block == nullptr ? nullptr : block->offsets.data() + (id - block->first_client);
  };
  for (std::size_t i = 0; i < ids.size() + kAhead; ++i) {
    if (i < ids.size()) __builtin_prefetch(offset_of(ids[i]));
    if (i < kAhead) continue;
    const ClientId id = ids[i - kAhead];
    const std::uint64_t* offset = offset_of(id);
    if (offset == nullptr || offset[0] == offset[1]) continue;
    found.push_back({id, block, offset[0], offset[1] - offset[0]});
  }
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
  for (const Block& b : blocks_) n += b.runs();
  return n;
}

std::size_t Dataset::held() const {
  std::size_t bytes = 0;
  for (const Block& b : blocks_)
    if (!b.on_file) bytes += b.rows * b.schema.example_bytes();
  return bytes;
}

bool Dataset::leave_on_file(std::size_t classes, bool skip_bad) {
  Block* largest = nullptr;
  for (Block& b : blocks_)
    if (!b.on_file && b.dropped == 0 && b.rows > 0 && (largest == nullptr || b.rows > largest->rows)) largest = &b;
  if (largest == nullptr) return false;
  OnFile on_file{classes, skip_bad, {}, {}};
  for (const std::uint64_t row : largest->offsets) on_file.rows.push_back(largest->first_row + row);
  for (std::size_t run = 0; run < largest->runs(); ++run) on_file.checksums.push_back(largest->checksum_of_run(run));
  largest->on_file = std::move(on_file);
  largest->bytes = {};
  largest->numbers = {};
  largest->labels = {};
  largest->targets = {};
  return true;
}

std::size_t Dataset::memory() const {
  std::size_t bytes = prefetcher_->memory();
  for (const Block& b : blocks_) {
    bytes += b.bytes.capacity() + 4 * (b.numbers.capacity() + b.labels.capacity() + b.targets.capacity()) +
             8 * b.offsets.capacity();
    if (b.on_file) bytes += 8 * (b.on_file->rows.capacity() + b.on_file->checksums.capacity());
  }
  return bytes;
}

}  // namespace fedmpi::data
