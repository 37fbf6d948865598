// Writes shards (data/README.md has their format) from a source that need not fit in memory: the rows are
// written in output order, as many at a time as the memory budget holds, and each time the source is read
// from its start.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <string>
#include <vector>

#include "data/import/census.hpp"
#include "data/schema.hpp"
#include "data/source.hpp"

namespace fedmpi::data {

// One output file: consecutive clients.
struct ShardFile {
  std::string path;
  std::vector<std::string> clients;  // their names; at least one
  std::uint64_t of = 0;              // so many files hold all the clients; 0 = not said
};

// The number of consecutive clients that each of `files` files gets so that they hold about equally many
// examples; each gets at least one. `sizes` are the clients' examples. Error(usage) for fewer clients than
// files.
std::vector<std::size_t> split_clients(std::span<const std::uint64_t> sizes, std::size_t files);

// Files are written aside, under their name + ".partial", and get their names by commit(), all together. What
// was not committed is removed by the destructor.
class ShardWriter {
 public:
  // The schema's `classes` must be known. `memory` is the budget in bytes for rows held at a time; one row is
  // always held.
  ShardWriter(Schema schema, std::size_t memory, Progress progress);
  ShardWriter(const ShardWriter&) = delete;
  ShardWriter& operator=(const ShardWriter&) = delete;
  ~ShardWriter();

  // Places example i of the source with client `client[i]`, counted over the files in their order; within a
  // client the examples keep the source's order. Error(cannot_create), also when a file already exists;
  // Error(io); and what the source throws.
  void write(Source& source, std::span<const std::uint32_t> client, std::span<const ShardFile> files);
  void write_text(const std::string& path, const std::string& text);
  void commit();

 private:
  Schema schema_;
  std::size_t memory_;
  Progress progress_;
  std::vector<std::string> pending_;  // final names of the files written aside
};

}  // namespace fedmpi::data
