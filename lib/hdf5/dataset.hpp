// A dataset of an HDF5 file, read with distrust: see file.hpp.
#pragma once

#include <cstddef>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <type_traits>
#include <vector>

#include "hdf5/handle.hpp"
#include "hdf5/raw_chunks.hpp"

namespace fedmpi::hdf5 {

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
  const std::string& type_name() const { return type_name_; }  // "uint8", "float64 big-endian"
  bool is_uint8() const { return type_name_ == "uint8"; }
  hid_t id() const { return handle_.get(); }

  // Reads `count` rows from row `first`, converted to T; `out` has count × row_size() elements. A stored number that a
  // whole T cannot hold is an error that says which, or is read as `instead`; a float takes the nearest, or Inf.
  template <class T>
  void read(std::size_t first, std::size_t count, std::span<T> out,
            std::type_identity_t<std::optional<T>> instead = {}) const {
    if constexpr (std::is_integral_v<T>)
      if (!holds_all<T>()) return read_whole(first, count, out, instead);
    read_rows(native_type<T>(), first, count, out.data(), out.size());
  }
  // The number stored there, as text: of any type that is read, and converted to none.
  std::string number_text(std::size_t row, std::size_t column = 0) const;
  // Whether read<T>() goes past the library (raw_chunks.hpp), which then has been asked all that it will be asked.
  template <class T>
  bool plain() const {
    return raw_ && raw_->element_type() == native_type<T>() && raw_->located();
  }
  // The same for rows that were read before and of which the caller has a checksum: where the dataset is plain
  // (raw_chunks.hpp) only these rows are read, not the chunks around them, and damage goes unnoticed.
  template <class T>
  void read_again(std::size_t first, std::size_t count, std::span<T> out,
                  std::type_identity_t<std::optional<T>> instead = {}) const {
    if (raw_ && raw_->element_type() == native_type<T>() && in_range(first, count, out.size()) &&
        raw_->read_unchecked(first, count, std::as_writable_bytes(out).data()))
      return;
    read(first, count, out, instead);
  }
  // Rows that read_again() will be asked for soon.
  void will_need(std::size_t first, std::size_t count) const {
    if (raw_) raw_->will_need(first, count);
  }
  template <class T>
  std::vector<T> read_all(std::type_identity_t<std::optional<T>> instead = {}) const {
    std::vector<T> values(size());
    read(0, rows(), std::span<T>(values), instead);
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
  // To be called when all is written: notes how many chunks hold nothing but zeros, usually none. Zeros are what a lost
  // block reads as, and of zeros the Fletcher32 is zero: without the note nobody could tell them from data.
  void seal();

  // "FILE: DATASET: expected …, found …" as an Error(bad_data).
  [[noreturn]] void refuse(const std::string& expected, const std::string& found) const;

 private:
  friend class File;
  Dataset() = default;
  Dataset(const std::string& file, std::string path, Handle handle, int descriptor);
  // Whether a T can be any number of the stored type.
  template <class T>
  bool holds_all() const {
    return class_ == ElementClass::integer &&
           (signed_ == std::is_signed_v<T> ? bytes_ <= sizeof(T) : !signed_ && bytes_ < sizeof(T));
  }
  template <class T>
  void read_whole(std::size_t first, std::size_t count, std::span<T> out, std::optional<T> instead) const;
  void read_rows(hid_t memory_type, std::size_t first, std::size_t count, void* out, std::size_t elements) const;
  void check_storage(hid_t creation) const;
  bool in_range(std::size_t first, std::size_t count, std::size_t elements) const;
  void read_note(hid_t creation);
  void refuse_lost_chunks(std::size_t first, std::size_t count, const void* rows, std::size_t row_bytes) const;

  std::string file_, path_, type_name_;
  Handle handle_;
  std::vector<std::size_t> shape_;
  ElementClass class_ = ElementClass::other;
  std::size_t bytes_ = 0;
  bool signed_ = false;
  std::unique_ptr<RawChunks> raw_;  // where the dataset is plain
  std::size_t chunk_rows_ = 0;     // of a dataset that is being written, or was sealed without a chunk of zeros; else 0
  std::vector<bool> has_nonzero_;  // by chunk, of a dataset that is being written
};

}  // namespace fedmpi::hdf5
