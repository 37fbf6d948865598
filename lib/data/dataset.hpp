// The clients of one participant: blocks of examples of consecutive clients, in their stored type, in memory or on
// file.
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "data/batch.hpp"
#include "data/schema.hpp"
#include "data/stored_vector.hpp"

namespace fedmpi::data {

using ClientId = std::uint64_t;  // position in the whole federation: files in order of name, clients as in the file

// What is kept of a block that has been read and checked, but is not held: it is read again client by client.
struct OnFile {
  std::size_t classes = 0;  // as it was checked: Shard::read
  bool skip_bad = false;
  std::vector<std::uint64_t> rows;       // of the file where the runs begin, and the end
  std::vector<std::uint64_t> checksums;  // of each run, by Block::checksum_of
};

// Examples read from one file, as rows.
struct Block {
  Schema schema;
  std::string file;
  std::size_t first_row = 0;          // row of the file that the first row here was
  StoredVector<std::uint8_t> bytes;   // features when stored as uint8
  StoredVector<float> numbers;        // features when stored as float32
  StoredVector<std::int32_t> labels;  // classification
  Vector targets;                     // regression, rows × targets
  std::size_t rows = 0;
  std::size_t dropped = 0;  // rows left out because they were bad (--data.skip-bad)

  // Of the stored features and labels of those rows; tells data sets apart.
  std::uint64_t checksum_of(std::size_t first, std::size_t count) const;

  // The rows fall into runs, of one client each (then first_client is the first of them) or of one evaluation block:
  // run i is rows offsets[i] … offsets[i + 1] - 1.
  StoredVector<std::uint64_t> offsets;
  ClientId first_client = 0;
  std::optional<OnFile> on_file;  // then no values are held: see prefetcher.hpp
  std::size_t runs() const { return offsets.empty() ? 0 : offsets.size() - 1; }
  std::uint64_t checksum_of_run(std::size_t run) const;

  void prefetch(std::size_t row) const;  // asks for its first bytes ahead

  std::span<const std::byte> stored(std::size_t first, std::size_t count) const;  // features of rows; none if on file
  // Values of the rows held, `order` counted from `first`.
  Batch gather(std::size_t first, std::span<const std::uint32_t> order, BatchBuffer& buffer) const;
  // Prefetches the features of examples that will be gathered soon: they lie in random order, and memory is slow.
  void prefetch(std::size_t first, std::span<const std::uint32_t> order) const;
  Batch gather(std::size_t first, std::size_t count, BatchBuffer& buffer) const;
};

// The examples of one client: rows first … first + size - 1 of a block, which may be on file.
struct ClientExamples {
  ClientId id = 0;
  const Block* block = nullptr;
  std::size_t first = 0;
  std::size_t size = 0;

  std::span<const std::byte> to_prefetch() const;  // before this client's turn: of its features as much as is useful
};

class Prefetcher;

class Dataset {
 public:
  // Blocks in ascending order of client. The prefetcher is for those on file.
  explicit Dataset(std::vector<Block> blocks);
  Dataset(std::vector<Block> blocks, std::unique_ptr<Prefetcher> prefetcher);
  Dataset();
  Dataset(Dataset&&) noexcept;
  Dataset& operator=(Dataset&&) noexcept;
  ~Dataset();

  bool has(ClientId id) const { return block_of(id) != nullptr; }
  ClientExamples client(ClientId id) const;  // id must be here
  // Appends those of the ids, which ascend, that are here and have examples.
  void find(std::span<const ClientId> ids, std::vector<ClientExamples>& found) const;
  const std::vector<Block>& blocks() const { return blocks_; }
  void add(Dataset other);  // its clients, none of which is here
  // Leaves the largest block that is held and whole on file, from where a Prefetcher will read it again by these
  // arguments of Shard::read; false if there is none.
  bool leave_on_file(std::size_t classes, bool skip_bad);
  // Brings clients into memory that are on file; one pass over them at a time.
  Prefetcher& prefetcher() const { return *prefetcher_; }
  std::size_t largest_client() const;  // examples of the largest client here
  std::size_t clients() const;
  std::size_t held() const;    // bytes of the examples in memory
  std::size_t memory() const;  // bytes held, and what the prefetcher may come to hold

 private:
  const Block* block_of(ClientId id) const;
  std::vector<Block> blocks_;
  std::unique_ptr<Prefetcher> prefetcher_;
};

}  // namespace fedmpi::data
