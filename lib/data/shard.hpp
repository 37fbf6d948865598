// Reading a shard: fedmpi's own format (see data/README.md) or a file of TensorFlow Federated, as it is.
#pragma once

#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "data/dataset.hpp"
#include "data/schema.hpp"
#include "hdf5/dataset.hpp"

namespace fedmpi::data {

// An open shard whose header has been checked. Every error is an Error(bad_data) that names file and dataset.
class Shard {
 public:
  virtual ~Shard() = default;
  static std::unique_ptr<Shard> open(const std::string& path);  // probed first (hdf5/probe.hpp)
  static void open_soon(const std::string& path);  // probes it beside what this process does until it calls open()
  static std::unique_ptr<Shard> open_unprobed(const std::string& path);  // a crash of the library is a crash here

  const std::string& path() const { return path_; }
  const Schema& schema() const { return schema_; }
  const std::string& stored_type() const { return stored_type_; }  // of the features, as in hdf5::Dataset::type_name
  std::uint64_t files() const { return files_; }  // so many shards hold all the clients; 0: it does not say
  // From the largest label, since none are declared: so there is one at least, and another shard may have more.
  bool classes_inferred() const { return classes_inferred_; }
  const std::vector<std::uint64_t>& offsets() const { return offsets_; }  // first row of each client, and the end
  std::size_t clients() const { return offsets_.size() - 1; }
  std::size_t rows() const { return offsets_.back(); }
  virtual std::string client_name(std::size_t client) const = 0;

  // Rows boundaries.front() … boundaries.back()-1 with every value checked: features and targets finite, labels
  // below `classes`. A bad row is an error that gives its number, or with `skip_bad` is left out and counted. The
  // boundaries, rising row numbers, become Block::offsets.
  Block read(std::span<const std::uint64_t> boundaries, std::size_t classes, bool skip_bad) const;
  Block read(std::size_t first, std::size_t count, std::size_t classes, bool skip_bad) const;
  // The same for whole clients. A client without examples is an error, or with `skip_bad` a run of none.
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
  // Numbers as the file stores them.
  virtual std::string feature_text(std::size_t row, std::size_t feature) const = 0;
  virtual std::string label_text(std::size_t row, std::size_t target) const = 0;
  void infer_classes(const hdf5::Dataset& labels);  // of these labels too

  // What read_rows() makes of a label that is no int32.
  static constexpr std::int32_t kNoClass = -1;

  std::string path_, stored_type_;
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
  bool is_good(const Block& block, std::size_t row, std::size_t classes) const;
  [[noreturn]] void refuse_row(const Block& block, std::size_t row, std::size_t row_of_file, std::size_t classes) const;
};

// The files that `pattern` names, in order of name: a file, a directory (its shard-*.h5) or a shell pattern.
// Throws Error(bad_data) when there is none, or in a directory of numbered shards one is missing between the others.
std::vector<std::string> shard_files(const std::string& pattern);

}  // namespace fedmpi::data
