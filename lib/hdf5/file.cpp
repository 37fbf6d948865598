#include "hdf5/file.hpp"

#include <fcntl.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstdlib>
#include <cstring>
#include <string_view>

#include "base/error.hpp"

namespace fedmpi::hdf5 {

namespace {

// The library prints its error stack by default; our own sentence says it better.
void prepare_library() {
  [[maybe_unused]] static const bool once = [] {
    H5dont_atexit();  // what we opened we close; after a full disk the library's own clean-up at exit crashes
    H5Eset_auto2(H5E_DEFAULT, nullptr, nullptr);
    H5PLset_loading_state(0);  // no filter from a plugin, ever
    native_type<float>();
    return true;
  }();
}

Handle property_list(hid_t type) { return {H5Pcreate(type), H5Pclose}; }

std::vector<hsize_t> extents(const std::vector<std::size_t>& shape) { return {shape.begin(), shape.end()}; }

// Whether it locks a file that it opens, as it does unless told otherwise.
bool library_locks() {
  const char* set = std::getenv("HDF5_USE_FILE_LOCKING");
  const std::string_view said = set != nullptr ? set : "";
  return said != "FALSE" && said != "0";
}

// That a file may not be read, or that its server does not answer, says nothing about what it holds.
[[noreturn]] void refuse_to_open(const std::string& path) {
  const bool no_such_file = errno == ENOENT || errno == ENOTDIR || errno == ELOOP || errno == ENAMETOOLONG;
  fail(no_such_file ? ExitCode::bad_data : ExitCode::io, "{}: expected a readable file, found: {}", path,
       std::strerror(errno));
}

}  // namespace

File File::open(const std::string& path) {
  const Exclusive alone;
  prepare_library();
  struct stat info {};
  if (stat(path.c_str(), &info) != 0) refuse_to_open(path);
  if (!S_ISREG(info.st_mode)) fail(ExitCode::bad_data, "{}: expected a regular file, found another kind", path);
  const int tried = ::open(path.c_str(), O_RDONLY | O_CLOEXEC);
  if (tried < 0) refuse_to_open(path);
  Handle handle(H5Fopen(path.c_str(), H5F_ACC_RDONLY, H5P_DEFAULT), H5Fclose);
  const int no_lock = handle.get() < 0 && library_locks() && flock(tried, LOCK_SH | LOCK_NB) != 0 ? errno : 0;
  ::close(tried);
  if (no_lock != 0)
    fail(ExitCode::io,
         "{}: expected a file that nobody writes, found one that cannot be locked: {}; close it elsewhere, or set "
         "HDF5_USE_FILE_LOCKING=FALSE",
         path, std::strerror(no_lock));
  if (handle.get() < 0)
    fail(ExitCode::bad_data, "{}: expected a whole HDF5 file, found one that is truncated, damaged or not HDF5", path);
  File file(path, std::move(handle));
  file.descriptor_ = descriptor_of(file.id());
  return file;
}

File File::create(const std::string& path) {
  const Exclusive alone;
  prepare_library();
  const Handle access = property_list(H5P_FILE_ACCESS);
  H5Pset_libver_bounds(access.get(), H5F_LIBVER_LATEST, H5F_LIBVER_LATEST);
  Handle handle(H5Fcreate(path.c_str(), H5F_ACC_EXCL, H5P_DEFAULT, access.get()), H5Fclose);
  if (handle.get() < 0) fail(ExitCode::cannot_create, "{}: cannot create the file: {}", path, std::strerror(errno));
  return {path, std::move(handle)};
}

void File::close() {
  const Exclusive alone;
  if (H5Fflush(handle_.get(), H5F_SCOPE_GLOBAL) >= 0 && handle_.reset() >= 0) return;
  const int error = errno;
  discard_the_rest(handle_.get());
  fail(ExitCode::io, "{}: cannot write the last bytes: {}", path_, std::strerror(error));
}

void File::refuse(const std::string& object, const std::string& expected, const std::string& found) const {
  fail(ExitCode::bad_data, "{}: {}: expected {}, found {}", path_, object, expected, found);
}

bool File::has(const std::string& path) const {
  const Exclusive alone;
  // Walks down component by component, because each may be a link that leads out of the file.
  for (std::size_t end = path.find('/', 1);; end = path.find('/', end + 1)) {
    const std::string part = path.substr(0, end);
    if (part.empty() || part == "/") return true;
    const htri_t exists = H5Lexists(id(), part.c_str(), H5P_DEFAULT);
    if (exists < 0) refuse(part, "a readable link", "a damaged one");
    if (exists == 0) return false;
    H5L_info_t info{};
    if (H5Lget_info(id(), part.c_str(), &info, H5P_DEFAULT) < 0 || info.type != H5L_TYPE_HARD)
      refuse(part, "an object of this file", "a soft, external or user-defined link");
    if (end == std::string::npos) return true;
  }
}

Dataset File::dataset(const std::string& path) const {
  const Exclusive alone;
  if (!has(path)) refuse(path, "a dataset", "none");
  Handle handle(H5Oopen(id(), path.c_str(), H5P_DEFAULT), H5Oclose);
  if (handle.get() < 0) refuse(path, "a readable dataset", "a damaged object");
  if (H5Iget_type(handle.get()) != H5I_DATASET) refuse(path, "a dataset", "an object of another kind");
  return {path_, path, std::move(handle), descriptor_};
}

std::vector<std::string> File::children(const std::string& group) const {
  const Exclusive alone;
  if (!has(group)) refuse(group, "a group", "none");
  std::vector<std::string> names;
  const auto visit = [](hid_t, const char* name, const H5L_info_t*, void* out) -> herr_t {
    static_cast<std::vector<std::string>*>(out)->emplace_back(name);
    return 0;
  };
  if (H5Literate_by_name(id(), group.c_str(), H5_INDEX_NAME, H5_ITER_INC, nullptr, visit, &names, H5P_DEFAULT) < 0)
    refuse(group, "a readable group", "a damaged one");
  return names;
}

void File::create_group(const std::string& path) {
  const Exclusive alone;
  if (has(path)) return;
  const Handle links = property_list(H5P_LINK_CREATE);
  H5Pset_create_intermediate_group(links.get(), 1);
  const Handle group(H5Gcreate2(id(), path.c_str(), links.get(), H5P_DEFAULT, H5P_DEFAULT), H5Gclose);
  if (group.get() >= 0) return;
  discard_the_rest(id());
  fail(ExitCode::io, "{}: {}: cannot create the group", path_, path);
}

Dataset File::create_dataset(const std::string& path, const std::vector<std::size_t>& shape, hid_t file_type) {
  const Exclusive alone;
  constexpr std::size_t kChunkBytes = std::size_t{1} << 20;
  const Handle links = property_list(H5P_LINK_CREATE);
  H5Pset_create_intermediate_group(links.get(), 1);
  const Handle plist = property_list(H5P_DATASET_CREATE);
  std::vector<hsize_t> dims = extents(shape), chunk = dims;
  // Whole rows, of about 1 MiB together: a chunk that is damaged is then missed as a whole.
  for (auto& c : chunk) c = std::max<hsize_t>(c, 1);
  std::size_t row_bytes = H5Tget_size(file_type);
  for (std::size_t d = 1; d < chunk.size(); ++d) row_bytes *= chunk[d];
  chunk[0] = std::clamp<hsize_t>(kChunkBytes / row_bytes, 1, chunk[0]);
  H5Pset_chunk(plist.get(), static_cast<int>(chunk.size()), chunk.data());
  H5Pset_fletcher32(plist.get());
  H5Pset_fill_time(plist.get(), H5D_FILL_TIME_NEVER);
  const Handle space(H5Screate_simple(static_cast<int>(dims.size()), dims.data(), nullptr), H5Sclose);
  Handle handle(H5Dcreate2(id(), path.c_str(), file_type, space.get(), links.get(), plist.get(), H5P_DEFAULT),
                H5Oclose);
  if (handle.get() < 0) {
    discard_the_rest(id());
    fail(ExitCode::io, "{}: {}: cannot create the dataset", path_, path);
  }
  Dataset dataset;
  dataset.file_ = path_;
  dataset.path_ = path;
  dataset.handle_ = std::move(handle);
  dataset.shape_ = shape;
  dataset.bytes_ = H5Tget_size(file_type);
  dataset.chunk_rows_ = chunk.front();
  dataset.has_nonzero_.resize((shape.front() + chunk.front() - 1) / chunk.front());
  return dataset;
}

void File::write_strings(const std::string& path, std::span<const std::string> values) {
  const Exclusive alone;
  std::size_t width = 1;
  for (const auto& v : values) width = std::max(width, v.size());
  const Handle type(H5Tcopy(H5T_C_S1), H5Tclose);
  H5Tset_size(type.get(), width);
  H5Tset_strpad(type.get(), H5T_STR_NULLPAD);
  H5Tset_cset(type.get(), H5T_CSET_UTF8);
  std::string bytes(width * values.size(), '\0');
  for (std::size_t i = 0; i < values.size(); ++i) values[i].copy(bytes.data() + i * width, width);
  Dataset dataset = create_dataset(path, {values.size()}, type.get());
  dataset.write_rows(type.get(), 0, values.size(), bytes.data(), values.size());
  dataset.seal();
}

bool File::has_attribute(const std::string& name, const std::string& object) const {
  const Exclusive alone;
  return has(object) && H5Aexists_by_name(id(), object.c_str(), name.c_str(), H5P_DEFAULT) > 0;
}

Handle File::attribute(const std::string& name, const std::string& object) const {
  if (!has_attribute(name, object)) refuse(object, fmt::format("attribute '{}'", name), "none");
  Handle handle(H5Aopen_by_name(id(), object.c_str(), name.c_str(), H5P_DEFAULT, H5P_DEFAULT), H5Aclose);
  if (handle.get() < 0) refuse(object, fmt::format("a readable attribute '{}'", name), "a damaged one");
  return handle;
}

std::string File::text(const std::string& name, const std::string& object) const {
  const Exclusive alone;
  const Handle a = attribute(name, object);
  const Handle type(H5Aget_type(a.get()), H5Tclose);
  const Handle space(H5Aget_space(a.get()), H5Sclose);
  if (H5Tget_class(type.get()) != H5T_STRING || H5Sget_simple_extent_npoints(space.get()) != 1)
    refuse(object, fmt::format("attribute '{}' to be one string", name), "another type");
  std::string value;
  if (H5Tis_variable_str(type.get()) > 0) {
    char* p = nullptr;
    if (H5Aread(a.get(), type.get(), &p) < 0) refuse(object, fmt::format("a readable '{}'", name), "damage");
    if (p != nullptr) value = p;
    H5Dvlen_reclaim(type.get(), space.get(), H5P_DEFAULT, &p);
  } else {
    value.resize(H5Tget_size(type.get()));
    if (H5Aread(a.get(), type.get(), value.data()) < 0) refuse(object, fmt::format("a readable '{}'", name), "damage");
    value.resize(strnlen(value.data(), value.size()));
  }
  return value;
}

double File::number(const std::string& name, const std::string& object) const {
  const Exclusive alone;
  const Handle a = attribute(name, object);
  const Handle space(H5Aget_space(a.get()), H5Sclose);
  double value = 0.0;
  if (H5Sget_simple_extent_npoints(space.get()) != 1 || H5Aread(a.get(), H5T_NATIVE_DOUBLE, &value) < 0)
    refuse(object, fmt::format("attribute '{}' to be one number", name), "another type");
  return value;
}

std::vector<std::uint64_t> File::integers(const std::string& name, const std::string& object) const {
  const Exclusive alone;
  const Handle a = attribute(name, object);
  const Handle space(H5Aget_space(a.get()), H5Sclose);
  const Handle type(H5Aget_type(a.get()), H5Tclose);
  const hssize_t n = H5Sget_simple_extent_npoints(space.get());
  std::vector<std::uint64_t> values(static_cast<std::size_t>(std::clamp<hssize_t>(n, 0, 64)));
  const bool is_signed = H5Tget_sign(type.get()) != H5T_SGN_NONE;  // a negative number is then still one
  if (n < 1 || n > 64 || H5Tget_class(type.get()) != H5T_INTEGER || H5Tget_size(type.get()) > sizeof values[0] ||
      H5Aread(a.get(), is_signed ? H5T_NATIVE_INT64 : H5T_NATIVE_UINT64, values.data()) < 0)
    refuse(object, fmt::format("attribute '{}' to be whole numbers", name), "another type");
  for (const std::uint64_t value : values)
    if (const auto number = static_cast<std::int64_t>(value); is_signed && number < 0)
      refuse(object, fmt::format("attribute '{}' to be whole numbers of 0 or more", name), std::to_string(number));
  return values;
}

namespace {

void write_attribute(const File& file, const std::string& object, const std::string& name, hid_t type,
                     const std::vector<std::size_t>& shape, const void* value) {
  const Exclusive alone;
  const std::vector<hsize_t> dims = extents(shape);
  const Handle space(
      shape.empty() ? H5Screate(H5S_SCALAR) : H5Screate_simple(static_cast<int>(dims.size()), dims.data(), nullptr),
      H5Sclose);
  const Handle a(H5Acreate_by_name(file.id(), object.c_str(), name.c_str(), type, space.get(), H5P_DEFAULT, H5P_DEFAULT,
                                   H5P_DEFAULT),
                 H5Aclose);
  if (a.get() >= 0 && H5Awrite(a.get(), type, value) >= 0) return;
  discard_the_rest(file.id());
  fail(ExitCode::io, "{}: cannot write attribute '{}' of {}", file.path(), name, object);
}

}  // namespace

void File::set_text(const std::string& name, const std::string& value, const std::string& object) {
  const Exclusive alone;
  const Handle type(H5Tcopy(H5T_C_S1), H5Tclose);
  H5Tset_size(type.get(), std::max<std::size_t>(1, value.size()));
  H5Tset_strpad(type.get(), H5T_STR_NULLPAD);
  H5Tset_cset(type.get(), H5T_CSET_UTF8);
  write_attribute(*this, object, name, type.get(), {}, value.empty() ? "\0" : value.data());
}

void File::set_number(const std::string& name, double value, const std::string& object) {
  write_attribute(*this, object, name, H5T_NATIVE_DOUBLE, {}, &value);
}

void File::set_integers(const std::string& name, std::span<const std::uint64_t> values, const std::string& object) {
  write_attribute(*this, object, name, H5T_NATIVE_UINT64,
                  values.size() == 1 ? std::vector<std::size_t>{} : std::vector<std::size_t>{values.size()},
                  values.data());
}

}  // namespace fedmpi::hdf5
