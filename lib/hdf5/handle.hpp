// Owning handles of the HDF5 library, and the element types in use.
#pragma once

#include <hdf5.h>

#include <cstdint>
#include <utility>

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
