#include "hdf5/file.hpp"

#include <sys/stat.h>

#include <algorithm>
#include <cerrno>
#include <cstring>

#include "base/error.hpp"

namespace fedmpi::hdf5 {

namespace {

// The library prints its error stack by default; our own sentence says it better.
void silence() {
  [[maybe_unused]] static const bool once = [] {
    H5Eset_auto2(H5E_DEFAULT, nullptr, nullptr);
    H5PLset_loading_state(0);  // no filter from a plugin, ever
    return true;
  }();
}

Handle property_list(hid_t type) { return {H5Pcreate(type), H5Pclose}; }

std::vector<hsize_t> extents(const std::vector<std::size_t>& shape) { return {shape.begin(), shape.end()}; }

}  // namespace

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

template <>
hid_t native_type<float>() {
  return H5T_NATIVE_FLOAT;
}
template <>
hid_t native_type<double>() {
  return H5T_NATIVE_DOUBLE;
}
template <>
hid_t native_type<std::uint8_t>() {
  return H5T_NATIVE_UINT8;
}
template <>
hid_t native_type<std::int32_t>() {
  return H5T_NATIVE_INT32;
}
template <>
hid_t native_type<std::int64_t>() {
  return H5T_NATIVE_INT64;
}
template <>
hid_t native_type<std::uint64_t>() {
  return H5T_NATIVE_UINT64;
}

File File::open(const std::string& path) {
  silence();
  struct stat info {};
  if (stat(path.c_str(), &info) != 0)
    fail(ExitCode::bad_data, "{}: expected a readable file, found: {}", path, std::strerror(errno));
  if (!S_ISREG(info.st_mode)) fail(ExitCode::bad_data, "{}: expected a regular file, found another kind", path);
  Handle handle(H5Fopen(path.c_str(), H5F_ACC_RDONLY, H5P_DEFAULT), H5Fclose);
  if (handle.get() < 0)
    fail(ExitCode::bad_data, "{}: expected a whole HDF5 file, found one that is truncated, damaged or not HDF5", path);
  return {path, std::move(handle)};
}

File File::create(const std::string& path) {
  silence();
  const Handle access = property_list(H5P_FILE_ACCESS);
  H5Pset_libver_bounds(access.get(), H5F_LIBVER_LATEST, H5F_LIBVER_LATEST);
  Handle handle(H5Fcreate(path.c_str(), H5F_ACC_EXCL, H5P_DEFAULT, access.get()), H5Fclose);
  if (handle.get() < 0) fail(ExitCode::cannot_create, "{}: cannot create the file: {}", path, std::strerror(errno));
  return {path, std::move(handle)};
}

void File::close() {
  if (H5Fflush(handle_.get(), H5F_SCOPE_GLOBAL) < 0 || handle_.reset() < 0)
    fail(ExitCode::io, "{}: cannot write the last bytes: {}", path_, std::strerror(errno));
}

void File::refuse(const std::string& object, const std::string& expected, const std::string& found) const {
  fail(ExitCode::bad_data, "{}: {}: expected {}, found {}", path_, object, expected, found);
}

bool File::has(const std::string& path) const {
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
  if (!has(path)) refuse(path, "a dataset", "none");
  Handle handle(H5Oopen(id(), path.c_str(), H5P_DEFAULT), H5Oclose);
  if (handle.get() < 0) refuse(path, "a readable dataset", "a damaged object");
  if (H5Iget_type(handle.get()) != H5I_DATASET) refuse(path, "a dataset", "an object of another kind");
  return {path_, path, std::move(handle)};
}

std::vector<std::string> File::children(const std::string& group) const {
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

Dataset::Dataset(const std::string& file, std::string path, Handle handle)
    : file_(file), path_(std::move(path)), handle_(std::move(handle)) {
  const Handle space(H5Dget_space(id()), H5Sclose);
  const Handle type(H5Dget_type(id()), H5Tclose);
  const Handle plist(H5Dget_create_plist(id()), H5Pclose);
  const int rank = H5Sget_simple_extent_ndims(space.get());
  if (rank < 0 || type.get() < 0 || plist.get() < 0) refuse("a readable header", "a damaged one");
  std::vector<hsize_t> dims(static_cast<std::size_t>(rank));
  H5Sget_simple_extent_dims(space.get(), dims.data(), nullptr);
  shape_.assign(dims.begin(), dims.end());

  bytes_ = H5Tget_size(type.get());
  switch (H5Tget_class(type.get())) {
    case H5T_INTEGER:
      class_ = ElementClass::integer;
      break;
    case H5T_FLOAT:
      class_ = ElementClass::real;
      break;
    case H5T_STRING:
      class_ = ElementClass::text;
      break;
    case H5T_COMPOUND:
      class_ = ElementClass::compound;
      break;
    default:
      class_ = ElementClass::other;
  }

  if (H5Pget_layout(plist.get()) == H5D_VIRTUAL) refuse("data stored in this file", "a virtual dataset");
  if (H5Pget_external_count(plist.get()) > 0) refuse("data stored in this file", "external storage");
  bool compressed = false;
  for (int i = 0; i < H5Pget_nfilters(plist.get()); ++i) {
    unsigned flags = 0;
    std::size_t values = 0;
    const H5Z_filter_t filter =
        H5Pget_filter2(plist.get(), static_cast<unsigned>(i), &flags, &values, nullptr, 0, nullptr, nullptr);
    if (filter == H5Z_FILTER_DEFLATE)
      compressed = true;
    else if (filter != H5Z_FILTER_SHUFFLE && filter != H5Z_FILTER_FLETCHER32)
      refuse("the filters deflate, shuffle or fletcher32", fmt::format("filter {}", filter));
  }
  // A declared shape is believed only as far as stored bytes stand behind it; deflate shrinks at most 1032
  // : 1.
  std::size_t declared = bytes_;
  for (const std::size_t n : shape_)
    if (__builtin_mul_overflow(declared, n, &declared)) refuse("a shape that fits memory", "a larger one");
  const hsize_t stored = H5Dget_storage_size(id());
  const std::size_t limit = static_cast<std::size_t>(stored) * (compressed ? 1100 : 1);
  if (declared > limit)
    refuse(fmt::format("at least {} stored bytes for its shape", declared / (compressed ? 1100 : 1)),
           std::to_string(stored));
}

void Dataset::refuse(const std::string& expected, const std::string& found) const {
  fail(ExitCode::bad_data, "{}: {}: expected {}, found {}", file_, path_, expected, found);
}

std::size_t Dataset::row_size() const {
  std::size_t n = 1;
  for (std::size_t i = 1; i < shape_.size(); ++i) n *= shape_[i];
  return n;
}

std::size_t Dataset::size() const { return rows() * row_size(); }

namespace {

struct Selection {
  Handle file, memory;
};

// File and memory space of `count` whole rows from row `first`.
Selection select_rows(hid_t dataset, const std::vector<std::size_t>& shape, std::size_t first, std::size_t count) {
  Selection s{{H5Dget_space(dataset), H5Sclose}, {}};
  std::vector<hsize_t> start(shape.size(), 0), extent = extents(shape);
  if (!shape.empty()) {
    start[0] = first;
    extent[0] = count;
    H5Sselect_hyperslab(s.file.get(), H5S_SELECT_SET, start.data(), nullptr, extent.data(), nullptr);
  }
  s.memory = shape.empty() ? Handle(H5Screate(H5S_SCALAR), H5Sclose)
                           : Handle(H5Screate_simple(static_cast<int>(shape.size()), extent.data(), nullptr), H5Sclose);
  return s;
}

}  // namespace

void Dataset::read_rows(hid_t memory_type, std::size_t first, std::size_t count, void* out,
                        std::size_t elements) const {
  if (elements != count * row_size() || first + count > rows())
    fail(ExitCode::bug, "{}: {}: rows {}+{} asked of {}", file_, path_, first, count, rows());
  if (class_ != ElementClass::integer && class_ != ElementClass::real) refuse("numbers", "another type");
  if (elements == 0) return;
  const Selection s = select_rows(id(), shape_, first, count);
  if (H5Dread(id(), memory_type, s.memory.get(), s.file.get(), H5P_DEFAULT, out) < 0)
    refuse("readable data", fmt::format("a damaged block in rows {} to {}", first, first + count - 1));
}

std::vector<std::string> Dataset::read_strings(std::size_t first, std::size_t count) const {
  if (class_ != ElementClass::text || shape_.size() != 1) refuse("a list of strings", "another type or shape");
  std::vector<std::string> strings;
  if (count == 0) return strings;
  const Handle type(H5Dget_type(id()), H5Tclose);
  const Selection s = select_rows(id(), shape_, first, count);
  const auto read = [&](void* out) {
    if (H5Dread(id(), type.get(), s.memory.get(), s.file.get(), H5P_DEFAULT, out) < 0)
      refuse("readable strings", "a damaged block");
  };
  if (H5Tis_variable_str(type.get()) > 0) {
    std::vector<char*> pointers(count, nullptr);
    read(pointers.data());
    for (const char* p : pointers) strings.emplace_back(p == nullptr ? "" : p);
    H5Dvlen_reclaim(type.get(), s.memory.get(), H5P_DEFAULT, pointers.data());
  } else {
    std::string bytes(count * bytes_, '\0');
    read(bytes.data());
    for (std::size_t i = 0; i < count; ++i) {
      const char* begin = bytes.data() + i * bytes_;
      strings.emplace_back(begin, strnlen(begin, bytes_));
    }
  }
  return strings;
}

void Dataset::read_compound(hid_t memory_type, std::span<std::byte> out) const {
  if (class_ != ElementClass::compound || out.size() != size() * H5Tget_size(memory_type))
    refuse("a table", "another type or shape");
  if (!out.empty() && H5Dread(id(), memory_type, H5S_ALL, H5S_ALL, H5P_DEFAULT, out.data()) < 0)
    refuse("a readable table of the known columns", "a damaged or different one");
}

void Dataset::write_rows(hid_t memory_type, std::size_t first, std::size_t count, const void* values,
                         std::size_t elements) {
  if (elements != count * row_size() || first + count > rows())
    fail(ExitCode::bug, "{}: {}: rows {}+{} given for {}", file_, path_, first, count, rows());
  if (elements == 0) return;
  const Selection s = select_rows(id(), shape_, first, count);
  if (H5Dwrite(id(), memory_type, s.memory.get(), s.file.get(), H5P_DEFAULT, values) < 0)
    fail(ExitCode::io, "{}: {}: cannot write: {}", file_, path_, std::strerror(errno));
}

void File::create_group(const std::string& path) {
  if (has(path)) return;
  const Handle links = property_list(H5P_LINK_CREATE);
  H5Pset_create_intermediate_group(links.get(), 1);
  const Handle group(H5Gcreate2(id(), path.c_str(), links.get(), H5P_DEFAULT, H5P_DEFAULT), H5Gclose);
  if (group.get() < 0) fail(ExitCode::io, "{}: {}: cannot create the group", path_, path);
}

Dataset File::create_dataset(const std::string& path, const std::vector<std::size_t>& shape, hid_t file_type) {
  constexpr std::size_t kChunkBytes = std::size_t{1} << 20;
  const Handle links = property_list(H5P_LINK_CREATE);
  H5Pset_create_intermediate_group(links.get(), 1);
  const Handle plist = property_list(H5P_DATASET_CREATE);
  std::vector<hsize_t> dims = extents(shape), chunk = dims;
  // Halves the chunk's largest dimension, the rows first, until it is about 1 MiB.
  for (auto& c : chunk) c = std::max<hsize_t>(c, 1);
  const auto chunk_bytes = [&] {
    std::size_t b = H5Tget_size(file_type);
    for (const auto c : chunk) b *= c;
    return b;
  };
  for (std::size_t d = 0; d < chunk.size() && chunk_bytes() > kChunkBytes; ++d)
    chunk[d] = std::max<hsize_t>(1, kChunkBytes / std::max<std::size_t>(1, chunk_bytes() / chunk[d]));
  H5Pset_chunk(plist.get(), static_cast<int>(chunk.size()), chunk.data());
  H5Pset_fletcher32(plist.get());
  H5Pset_fill_time(plist.get(), H5D_FILL_TIME_NEVER);
  const Handle space(H5Screate_simple(static_cast<int>(dims.size()), dims.data(), nullptr), H5Sclose);
  Handle handle(H5Dcreate2(id(), path.c_str(), file_type, space.get(), links.get(), plist.get(), H5P_DEFAULT),
                H5Oclose);
  if (handle.get() < 0) fail(ExitCode::io, "{}: {}: cannot create the dataset", path_, path);
  Dataset dataset;
  dataset.file_ = path_;
  dataset.path_ = path;
  dataset.handle_ = std::move(handle);
  dataset.shape_ = shape;
  dataset.bytes_ = H5Tget_size(file_type);
  return dataset;
}

void File::write_strings(const std::string& path, std::span<const std::string> values) {
  std::size_t width = 1;
  for (const auto& v : values) width = std::max(width, v.size());
  const Handle type(H5Tcopy(H5T_C_S1), H5Tclose);
  H5Tset_size(type.get(), width);
  H5Tset_strpad(type.get(), H5T_STR_NULLPAD);
  H5Tset_cset(type.get(), H5T_CSET_UTF8);
  std::string bytes(width * values.size(), '\0');
  for (std::size_t i = 0; i < values.size(); ++i) values[i].copy(bytes.data() + i * width, width);
  create_dataset(path, {values.size()}, type.get())
      .write_rows(type.get(), 0, values.size(), bytes.data(), values.size());
}

bool File::has_attribute(const std::string& name, const std::string& object) const {
  return has(object) && H5Aexists_by_name(id(), object.c_str(), name.c_str(), H5P_DEFAULT) > 0;
}

Handle File::attribute(const std::string& name, const std::string& object) const {
  if (!has_attribute(name, object)) refuse(object, fmt::format("attribute '{}'", name), "none");
  Handle handle(H5Aopen_by_name(id(), object.c_str(), name.c_str(), H5P_DEFAULT, H5P_DEFAULT), H5Aclose);
  if (handle.get() < 0) refuse(object, fmt::format("a readable attribute '{}'", name), "a damaged one");
  return handle;
}

std::string File::text(const std::string& name, const std::string& object) const {
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
  const Handle a = attribute(name, object);
  const Handle space(H5Aget_space(a.get()), H5Sclose);
  double value = 0.0;
  if (H5Sget_simple_extent_npoints(space.get()) != 1 || H5Aread(a.get(), H5T_NATIVE_DOUBLE, &value) < 0)
    refuse(object, fmt::format("attribute '{}' to be one number", name), "another type");
  return value;
}

std::vector<std::uint64_t> File::integers(const std::string& name, const std::string& object) const {
  const Handle a = attribute(name, object);
  const Handle space(H5Aget_space(a.get()), H5Sclose);
  const Handle type(H5Aget_type(a.get()), H5Tclose);
  const hssize_t n = H5Sget_simple_extent_npoints(space.get());
  std::vector<std::uint64_t> values(static_cast<std::size_t>(std::clamp<hssize_t>(n, 0, 64)));
  if (n < 1 || n > 64 || H5Tget_class(type.get()) != H5T_INTEGER ||
      H5Aread(a.get(), H5T_NATIVE_UINT64, values.data()) < 0)
    refuse(object, fmt::format("attribute '{}' to be whole numbers", name), "another type");
  return values;
}

namespace {

void write_attribute(const File& file, const std::string& object, const std::string& name, hid_t type,
                     const std::vector<std::size_t>& shape, const void* value) {
  const std::vector<hsize_t> dims = extents(shape);
  const Handle space(
      shape.empty() ? H5Screate(H5S_SCALAR) : H5Screate_simple(static_cast<int>(dims.size()), dims.data(), nullptr),
      H5Sclose);
  const Handle a(H5Acreate_by_name(file.id(), object.c_str(), name.c_str(), type, space.get(), H5P_DEFAULT, H5P_DEFAULT,
                                   H5P_DEFAULT),
                 H5Aclose);
  if (a.get() < 0 || H5Awrite(a.get(), type, value) < 0)
    fail(ExitCode::io, "{}: cannot write attribute '{}' of {}", file.path(), name, object);
}

}  // namespace

void File::set_text(const std::string& name, const std::string& value, const std::string& object) {
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
