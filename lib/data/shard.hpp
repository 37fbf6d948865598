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
  static std::unique_ptr<Shard> open(const std::string& path);           // probed first (hdf5/probe.hpp)
  static std::unique_ptr<Shard> open_unprobed(const std::string& path);  // a crash of the library is a crash here

  const std::string& path() const { return path_; }
  const Schema& schema() const { return schema_; }
  std::uint64_t files() const { return files_; }  // so many shards hold all the clients; 0: it does not say
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
  // Reads rows again that were read before, into a block whose memory is used again. The caller checks their checksum:
  // damage may go unnoticed here.
  void read_again(std::span<const std::uint64_t> boundaries, std::size_t classes, bool skip_bad, Block& block) const;
  // Rows that read_again() will be asked for soon.
  virtual void will_need(std::size_t, std::size_t) const {}
  // Has those rows read in a process of their own first (hdf5/probe.hpp), unless they are read past the library. Every
  // read() does so; done before for all that is going to be read in parts, it is done once.
  void probe_rows(std::size_t first, std::size_t count) const;

 protected:
  explicit Shard(std::string path) : path_(std::move(path)) {}
  // Into buffers of that size; `again`: by Dataset::read_again.
  virtual void read_rows(std::size_t first, std::size_t count, bool again, Block& block) const = 0;
  virtual bool plain() const { return false; }  // all examples are read past the library

  std::string path_;
  Schema schema_;
  bool classes_inferred_ = false;
  std::uint64_t files_ = 0;
  std::vector<std::uint64_t> offsets_;

 private:
  void check(Block& block, std::span<const std::uint64_t> boundaries, std::size_t classes, bool skip_bad) const;
  bool all_good(const Block& block, std::size_t classes) const;
  mutable std::size_t probed_first_ = 0, probed_end_ = 0;  // rows
  static void try_header(const std::string& path, std::uint64_t, std::uint64_t);
  static void try_rows(const std::string& path, std::uint64_t first, std::uint64_t count);
  std::optional<std::string> fault(const Block& block, std::size_t row, std::size_t classes) const;
};

// The files that `pattern` names, in order of name: a file, a directory (its shard-*.h5) or a shell pattern.
// Throws Error(bad_data) when there is none, or in a directory of numbered shards one is missing between the others.
std::vector<std::string> shard_files(const std::string& pattern);

}  // namespace fedmpi::data
