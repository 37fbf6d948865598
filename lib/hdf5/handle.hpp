// Owning handles of the HDF5 library, and the element types in use.
#pragma once

#include <hdf5.h>

#include <cstdint>
#include <mutex>
#include <utility>

namespace fedmpi::hdf5 {

// Keeps other threads out of the library for as long as it lives: HDF5 is not made for two at once, and a prefetcher
// reads while its participant writes. Every function of hdf5/ that calls the library has one, and so has whoever calls
// it elsewhere. It is one recursive mutex for all files, since such functions call one another; rows that are read past
// the library (raw_chunks.hpp) do not take it.
class Exclusive {
 public:
  Exclusive();
  // In a process that was just forked, by a thread that had one: it is not the thread that locked the mutex.
  static void renew_in_child();

 private:
  std::scoped_lock<std::recursive_mutex> lock_;
};

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

// To be called when something cannot be written into the object's file. The library tries again as it closes what is
// open, and crashes if it cannot (1.14, on a full disk): from now on all goes into memory that is dropped with the
// file.
void discard_the_rest(hid_t object);

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

}  // namespace fedmpi::hdf5
