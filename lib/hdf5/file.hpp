// HDF5 files: owning handles, attributes and datasets, with errors that name file and dataset.
//
// Files are written in the newest format, every dataset chunked and with Fletcher32, because only then does
// the library notice damage. They are read with distrust: no links out of the file, no virtual or external
// storage, no filters from plugins, no shapes that the stored bytes cannot fill.
#pragma once

#include <hdf5.h>

#include <cstddef>
#include <cstdint>
#include <span>
#include <string>
#include <utility>
#include <vector>

namespace fedmpi::hdf5 {

// Owns one HDF5 identifier.
class Handle {
 public:
  using Close = herr_t (*)(hid_t);
  Handle() = default;
  Handle(hid_t id, Close close) : id_(id), close_(close) {}
  Handle(Handle&& other) noexcept : id_(std::exchange(other.id_, -1)), close_(other.close_) {}
  Handle& operator=(Handle&& other) noexcept;
  ~Handle() { reset(); }
  hid_t get() const { return id_; }
  herr_t reset();  // closes now; negative when the library could not

 private:
  hid_t id_ = -1;
  Close close_ = nullptr;
};

// The element types in use, in memory.
template <class T>
hid_t native_type();
template <>
hid_t native_type<float>();
template <>
hid_t native_type<double>();
template <>
hid_t native_type<std::uint8_t>();
template <>
hid_t native_type<std::int32_t>();
template <>
hid_t native_type<std::int64_t>();
template <>
hid_t native_type<std::uint64_t>();

enum class ElementClass { integer, real, text, compound, other };

// A dataset of an open file. Every error is an Error(bad_data) (or io, when writing) naming file and dataset.
class Dataset {
 public:
  const std::string& path() const { return path_; }
  const std::vector<std::size_t>& shape() const { return shape_; }
  std::size_t rows() const { return shape_.empty() ? 1 : shape_[0]; }
  std::size_t row_size() const;  // elements of one row
  std::size_t size() const;      // elements in all
  ElementClass element_class() const { return class_; }
  std::size_t element_bytes() const { return bytes_; }
  hid_t id() const { return handle_.get(); }

  // Reads `count` rows from row `first`, converted to T; `out` has count × row_size() elements.
  template <class T>
  void read(std::size_t first, std::size_t count, std::span<T> out) const {
    read_rows(native_type<T>(), first, count, out.data(), out.size());
  }
  template <class T>
  std::vector<T> read_all() const {
    std::vector<T> values(size());
    read(0, rows(), std::span<T>(values));
    return values;
  }
  std::vector<std::string> read_strings(std::size_t first,
                                        std::size_t count) const;         // fixed or variable length
  void read_compound(hid_t memory_type, std::span<std::byte> out) const;  // all rows

  template <class T>
  void write(std::size_t first, std::size_t count, std::span<const T> values) {
    write_rows(native_type<T>(), first, count, values.data(), values.size());
  }
  void write_rows(hid_t memory_type, std::size_t first, std::size_t count, const void* values, std::size_t elements);

  // "FILE: DATASET: expected …, found …" as an Error(bad_data).
  [[noreturn]] void refuse(const std::string& expected, const std::string& found) const;

 private:
  friend class File;
  Dataset() = default;
  Dataset(const std::string& file, std::string path, Handle handle);
  void read_rows(hid_t memory_type, std::size_t first, std::size_t count, void* out, std::size_t elements) const;

  std::string file_, path_;
  Handle handle_;
  std::vector<std::size_t> shape_;
  ElementClass class_ = ElementClass::other;
  std::size_t bytes_ = 0;
};

class File {
 public:
  static File open(const std::string& path);    // read-only and hardened; Error(bad_data)
  static File create(const std::string& path);  // newest format, must not exist; Error(cannot_create)
  void close();                                 // Error(io) when the last bytes cannot be written

  const std::string& path() const { return path_; }
  hid_t id() const { return handle_.get(); }

  // An object of that path that is reached by hard links alone. A soft or external link is an
  // Error(bad_data).
  bool has(const std::string& path) const;
  Dataset dataset(const std::string& path) const;
  std::vector<std::string> children(const std::string& group) const;  // names in alphabetical order

  // Attributes of the root group, or of another object.
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
};

}  // namespace fedmpi::hdf5
