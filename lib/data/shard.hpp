// Reading a shard: fedmpi's own format (see data/README.md) or a file of TensorFlow Federated, as it is.
#pragma once

#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "data/dataset.hpp"
#include "data/schema.hpp"

namespace fedmpi::data {

// An open shard whose header has been checked. Every error is an Error(bad_data) that names file and dataset.
class Shard {
 public:
  virtual ~Shard() = default;
  static std::unique_ptr<Shard> open(const std::string& path);

  const std::string& path() const { return path_; }
  const Schema& schema() const { return schema_; }
  bool classes_inferred() const { return classes_inferred_; }  // from the largest label, since none are declared
  const std::vector<std::uint64_t>& offsets() const { return offsets_; }  // first row of each client, and the end
  std::size_t clients() const { return offsets_.size() - 1; }
  std::size_t rows() const { return offsets_.back(); }
  virtual std::string client_name(std::size_t client) const = 0;

  // Rows boundaries.front() … boundaries.back()-1 with every value checked: features and targets finite, labels
  // below `classes`. A bad row is an error that gives its number, or with `skip_bad` is left out and counted. The
  // boundaries, rising row numbers, become Block::offsets.
  Block read(std::span<const std::uint64_t> boundaries, std::size_t classes, bool skip_bad) const;
  Block read(std::size_t first, std::size_t count, std::size_t classes, bool skip_bad) const;
  // The same for whole clients; a client without examples is an error.
  Block read_clients(std::size_t first, std::size_t count, std::size_t classes, bool skip_bad) const;

 protected:
  explicit Shard(std::string path) : path_(std::move(path)) {}
  virtual void read_rows(std::size_t first, std::size_t count, Block& block) const = 0;  // into sized buffers

  std::string path_;
  Schema schema_;
  bool classes_inferred_ = false;
  std::vector<std::uint64_t> offsets_;

 private:
  std::optional<std::string> fault(const Block& block, std::size_t row, std::size_t classes) const;
};

// The files that `pattern` names, in order of name: a file, a directory (its shard-*.h5) or a shell pattern.
// Throws Error(usage) when there is none.
std::vector<std::string> shard_files(const std::string& pattern);

}  // namespace fedmpi::data
