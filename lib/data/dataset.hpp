// What one participant holds in memory: blocks of examples of consecutive clients, in their stored type.
#pragma once

#include <cstdint>
#include <span>
#include <string>
#include <vector>

#include "data/batch.hpp"
#include "data/schema.hpp"

namespace fedmpi::data {

using ClientId = std::uint64_t;  // position in the whole federation: files in order of name, clients as in the file

// Examples read from one file, as rows.
struct Block {
  Schema schema;
  std::string file;
  std::size_t first_row = 0;         // row of the file that the first row here was
  std::vector<std::uint8_t> bytes;   // features when stored as uint8
  Vector numbers;                    // features when stored as float32
  std::vector<std::int32_t> labels;  // classification
  Vector targets;                    // regression, rows × targets
  std::size_t rows = 0;
  std::size_t dropped = 0;  // rows left out because they were bad (--data.skip-bad)

  // Of the stored features and labels of those rows; tells data sets apart.
  std::uint64_t checksum_of(std::size_t first, std::size_t count) const;

  // The rows fall into runs, of one client each (then first_client is the first of them) or of one evaluation block:
  // run i is rows offsets[i] … offsets[i + 1] - 1.
  std::vector<std::uint64_t> offsets;
  ClientId first_client = 0;
  Batch gather(std::size_t first, std::span<const std::uint32_t> order, BatchBuffer& buffer) const;
  Batch gather(std::size_t first, std::size_t count, BatchBuffer& buffer) const;
};

// The examples of one client: rows first … first + size - 1 of a block.
struct ClientExamples {
  ClientId id = 0;
  const Block* block = nullptr;
  std::size_t first = 0;
  std::size_t size = 0;
};

class Dataset {
 public:
  // Blocks in ascending order of client.
  explicit Dataset(std::vector<Block> blocks) : blocks_(std::move(blocks)) {}
  Dataset() = default;

  bool has(ClientId id) const { return block_of(id) != nullptr; }
  ClientExamples client(ClientId id) const;  // id must be here
  const std::vector<Block>& blocks() const { return blocks_; }
  std::size_t largest_client() const;  // examples of the largest client here
  std::size_t clients() const;
  std::size_t memory() const;  // bytes held

 private:
  const Block* block_of(ClientId id) const;
  std::vector<Block> blocks_;
};

}  // namespace fedmpi::data
