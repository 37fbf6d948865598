// HDF5 files: groups, attributes and datasets, with errors that name file and object.
//
// Files are written in the newest format, every dataset chunked and with Fletcher32, because only then does
// the library notice damage. They are read with distrust: no links out of the file, no virtual or external
// storage, no filters from plugins, no shapes that the stored bytes cannot fill.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <string>
#include <utility>
#include <vector>

#include "hdf5/dataset.hpp"
#include "hdf5/handle.hpp"

namespace fedmpi::hdf5 {

class File {
 public:
  // Read-only and hardened. Error(bad_data), or Error(io) when it cannot be read now, say because another writes it.
  static File open(const std::string& path);
  static File create(const std::string& path);  // newest format, must not exist; Error(cannot_create)
  void close();                                 // Error(io) when the last bytes cannot be written

  const std::string& path() const { return path_; }
  hid_t id() const { return handle_.get(); }

  // An object of that path that is reached by hard links alone. A soft or external link is an
  // Error(bad_data).
  bool has(const std::string& path) const;
  Dataset dataset(const std::string& path) const;
  std::vector<std::string> children(const std::string& group) const;  // names in alphabetical order

  // Attributes of the root group, or of another object. Whole numbers are 0 or more.
  bool has_attribute(const std::string& name, const std::string& object = "/") const;
  std::string text(const std::string& name, const std::string& object = "/") const;
  double number(const std::string& name, const std::string& object = "/") const;
  std::vector<std::uint64_t> integers(const std::string& name, const std::string& object = "/") const;
  void set_text(const std::string& name, const std::string& value, const std::string& object = "/");
  void set_number(const std::string& name, double value, const std::string& object = "/");
  void set_integers(const std::string& name, std::span<const std::uint64_t> values,
                    const std::string& object = "/");  // one value becomes a scalar

  void create_group(const std::string& path);
  // Creates a dataset of that shape in chunks of about 1 MiB of whole rows; missing groups are made.
  template <class T>
  Dataset create_dataset(const std::string& path, const std::vector<std::size_t>& shape) {
    return create_dataset(path, shape, native_type<T>());
  }
  Dataset create_dataset(const std::string& path, const std::vector<std::size_t>& shape, hid_t file_type);
  // Writes strings as fixed-length UTF-8, since variable-length ones cannot be checksummed.
  void write_strings(const std::string& path, std::span<const std::string> values);

  // "FILE: OBJECT: expected …, found …" as an Error(bad_data).
  [[noreturn]] void refuse(const std::string& object, const std::string& expected, const std::string& found) const;

 private:
  File(std::string path, Handle handle) : path_(std::move(path)), handle_(std::move(handle)) {}
  Handle attribute(const std::string& name, const std::string& object) const;

  std::string path_;
  Handle handle_;
  int descriptor_ = -1;  // to read past the library: raw_chunks.hpp
};

}  // namespace fedmpi::hdf5
