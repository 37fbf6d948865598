#include "hdf5/handle.hpp"

#include <fcntl.h>
#include <sys/mman.h>
#include <unistd.h>

#include <new>

namespace fedmpi::hdf5 {

namespace {

std::recursive_mutex& library() {
  static std::recursive_mutex the_one;
  return the_one;
}

}  // namespace

Exclusive::Exclusive() : lock_(library()) {}

void Exclusive::renew_in_child() { new (&library()) std::recursive_mutex; }

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
  const Exclusive alone;
  return close_(std::exchange(id_, -1));
}

void discard_the_rest(hid_t object) {
  const Exclusive alone;
  const Handle file(H5Iget_file_id(object), H5Fclose);
  void* descriptor = nullptr;
  if (file.get() < 0 || H5Fget_vfd_handle(file.get(), H5P_DEFAULT, &descriptor) < 0) return;
  const int memory = memfd_create("fedmpi-discarded", MFD_CLOEXEC);
  if (memory < 0) return;  // then as before
  dup3(memory, *static_cast<int*>(descriptor), O_CLOEXEC);
  close(memory);
}

namespace {

// Asked for once, by the first file (prepare_library() in file.cpp): the macros call the library.
struct NativeTypes {
  hid_t f32 = H5T_NATIVE_FLOAT, f64 = H5T_NATIVE_DOUBLE, u8 = H5T_NATIVE_UINT8, i32 = H5T_NATIVE_INT32,
        i64 = H5T_NATIVE_INT64, u64 = H5T_NATIVE_UINT64;
};

const NativeTypes& native_types() {
  static const NativeTypes types;
  return types;
}

}  // namespace

template <>
hid_t native_type<float>() {
  return native_types().f32;
}
template <>
hid_t native_type<double>() {
  return native_types().f64;
}
template <>
hid_t native_type<std::uint8_t>() {
  return native_types().u8;
}
template <>
hid_t native_type<std::int32_t>() {
  return native_types().i32;
}
template <>
hid_t native_type<std::int64_t>() {
  return native_types().i64;
}
template <>
hid_t native_type<std::uint64_t>() {
  return native_types().u64;
}

}  // namespace fedmpi::hdf5
