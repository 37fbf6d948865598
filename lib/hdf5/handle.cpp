#include "hdf5/handle.hpp"

namespace fedmpi::hdf5 {

Handle& Handle::operator=(Handle&& other) noexcept {
  if (this != &other) {
    reset();
    id_ = std::exchange(other.id_, -1);
    close_ = other.close_;
  }
  return *this;
}

herr_t Handle::reset() {
  if (id_ < 0) return 0;
  return close_(std::exchange(id_, -1));
}

// Asked for once: the macros call the library.
template <>
hid_t native_type<float>() {
  static const hid_t type = H5T_NATIVE_FLOAT;
  return type;
}
template <>
hid_t native_type<double>() {
  static const hid_t type = H5T_NATIVE_DOUBLE;
  return type;
}
template <>
hid_t native_type<std::uint8_t>() {
  static const hid_t type = H5T_NATIVE_UINT8;
  return type;
}
template <>
hid_t native_type<std::int32_t>() {
  static const hid_t type = H5T_NATIVE_INT32;
  return type;
}
template <>
hid_t native_type<std::int64_t>() {
  static const hid_t type = H5T_NATIVE_INT64;
  return type;
}
template <>
hid_t native_type<std::uint64_t>() {
  static const hid_t type = H5T_NATIVE_UINT64;
  return type;
}

}  // namespace fedmpi::hdf5
