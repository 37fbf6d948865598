#include "hdf5/handle.hpp"

#include <fcntl.h>
#include <sys/mman.h>
#include <unistd.h>

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

void discard_the_rest(hid_t object) {
  const Handle file(H5Iget_file_id(object), H5Fclose);
  void* descriptor = nullptr;
  if (file.get() < 0 || H5Fget_vfd_handle(file.get(), H5P_DEFAULT, &descriptor) < 0) return;
  const int memory = memfd_create("fedmpi-discarded", MFD_CLOEXEC);
  if (memory < 0) return;  // then as before
  dup3(memory, *static_cast<int*>(descriptor), O_CLOEXEC);
  close(memory);
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
