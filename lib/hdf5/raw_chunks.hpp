// Rows of the plainest datasets, read past the library: from the file into place, every checksum verified.
//
// The library reads such a chunk into memory of its own, checks it two bytes at a time and copies it; and no two
// threads may be in it at once. Whatever is not plain, or not as it should be, is left to the library, which then
// says what is wrong.
#pragma once

#include <hdf5.h>

#include <cstddef>
#include <cstdint>
#include <memory>
#include <span>
#include <vector>

#include "hdf5/handle.hpp"

namespace fedmpi::hdf5 {

// The checksum of HDF5's filter of that name: Fletcher's, over big-endian words of 16 bits and modulo 65535; an odd
// last byte is the high one of a word. H5_checksum_fletcher32() in the library.
std::uint32_t fletcher32(std::span<const std::byte> bytes);

// Of an ordinary file, open for reading only and through read(2), in which addresses count from its beginning; else -1.
int descriptor_of(hid_t file);

// The chunks of a plain dataset: whole rows to a chunk, Fletcher32 the only filter, elements as this machine has them,
// all chunks stored, in an ordinary file that is open for reading only. One thread at a time; only the first read calls
// the library.
class RawChunks {
 public:
  // nullptr for a dataset that is not plain. `creation` are the properties that it was created with, and `descriptor`
  // is of its file, as descriptor_of() says; both it and the dataset must stay open as long as the result lives.
  static std::unique_ptr<RawChunks> of(hid_t dataset, hid_t creation, int descriptor);

  hid_t element_type() const { return type_; }  // one of native_type()
  bool located();                               // false when the library must read after all
  // Rows first … first + count - 1, which must be in the dataset, to `out`. False, and `out` is undefined, when they
  // cannot be read or a checksum differs.
  bool read(std::size_t first, std::size_t count, std::byte* out);
  // The same without the checksums, so that no byte is read but those of the rows.
  bool read_unchecked(std::size_t first, std::size_t count, std::byte* out);
  // Asks the system to have the rows at hand for read_unchecked(), without waiting for them.
  void will_need(std::size_t first, std::size_t count);

 private:
  RawChunks() = default;
  void locate();
  bool load(std::size_t chunk);
  template <class Take>
  bool for_each_chunk(std::size_t first, std::size_t count, std::byte* out, Take take);

  hid_t dataset_ = -1, type_ = -1;
  int file_ = -1;  // the library's own descriptor
  std::size_t chunks_ = 0, chunk_rows_ = 0, row_bytes_ = 0;
  bool asked_ = false;
  std::vector<std::uint64_t> addresses_;  // of each chunk in the file; empty when not all are as expected
  std::vector<std::byte> loaded_;         // the chunk that was read last in part
  std::size_t loaded_chunk_ = SIZE_MAX;
};

}  // namespace fedmpi::hdf5
