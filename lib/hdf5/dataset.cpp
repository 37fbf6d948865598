#include "hdf5/dataset.hpp"

#include <algorithm>
#include <array>
#include <cerrno>
#include <cmath>
#include <cstring>
#include <limits>
#include <utility>

#include "base/error.hpp"

namespace fedmpi::hdf5 {

namespace {

ElementClass class_of(hid_t type) {
  switch (H5Tget_class(type)) {
    case H5T_INTEGER:
    case H5T_ENUM:  // which is how h5py stores what is true or false
      return H5Tget_size(type) <= sizeof(std::int64_t) ? ElementClass::integer : ElementClass::other;
    case H5T_FLOAT:
      return ElementClass::real;
    case H5T_STRING:
      return ElementClass::text;
    case H5T_COMPOUND:
      return ElementClass::compound;
    default:
      return ElementClass::other;
  }
}

std::string name_of(hid_t type, ElementClass kind) {
  if (kind == ElementClass::text) return "text";
  if (kind != ElementClass::integer && kind != ElementClass::real) return "another type";
  const char* sign = kind == ElementClass::integer && H5Tget_sign(type) == H5T_SGN_NONE ? "u" : "";
  const std::size_t bytes = H5Tget_size(type);
  return fmt::format("{}{}{}{}", sign, kind == ElementClass::real ? "float" : "int", 8 * bytes,
                     bytes > 1 && H5Tget_order(type) == H5T_ORDER_BE ? " big-endian" : "");
}

}  // namespace

Dataset::Dataset(const std::string& file, std::string path, Handle handle, int descriptor)
    : file_(file), path_(std::move(path)), handle_(std::move(handle)) {
  const Exclusive alone;
  const Handle space(H5Dget_space(id()), H5Sclose);
  const Handle type(H5Dget_type(id()), H5Tclose);
  const Handle creation(H5Dget_create_plist(id()), H5Pclose);
  const int rank = H5Sget_simple_extent_ndims(space.get());
  if (rank < 0 || type.get() < 0 || creation.get() < 0) refuse("a readable header", "a damaged one");
  std::vector<hsize_t> dims(static_cast<std::size_t>(rank));
  H5Sget_simple_extent_dims(space.get(), dims.data(), nullptr);
  shape_.assign(dims.begin(), dims.end());

  bytes_ = H5Tget_size(type.get());
  if (bytes_ == 0) refuse("elements of one byte or more", "a type of none");
  class_ = class_of(type.get());
  signed_ = class_ == ElementClass::integer && H5Tget_sign(type.get()) != H5T_SGN_NONE;
  type_name_ = name_of(type.get(), class_);
  check_storage(creation.get());
  raw_ = RawChunks::of(id(), creation.get(), descriptor);
  read_note(creation.get());
}

// That the library will read nothing but this file, and not more than it holds.
void Dataset::check_storage(hid_t creation) const {
  if (H5Pget_layout(creation) == H5D_VIRTUAL) refuse("data stored in this file", "a virtual dataset");
  if (H5Pget_external_count(creation) > 0) refuse("data stored in this file", "external storage");
  bool compressed = false;
  for (int i = 0; i < H5Pget_nfilters(creation); ++i) {
    unsigned flags = 0;
    std::size_t values = 0;
    std::array<char, 64> name{};
    const H5Z_filter_t filter = H5Pget_filter2(creation, static_cast<unsigned>(i), &flags, &values, nullptr,
                                               name.size() - 1, name.data(), nullptr);
    if (filter == H5Z_FILTER_DEFLATE)
      compressed = true;
    else if (filter != H5Z_FILTER_SHUFFLE && filter != H5Z_FILTER_FLETCHER32)
      refuse("the filters deflate, shuffle or fletcher32",
             fmt::format("filter {}{}", filter, name[0] == 0 ? "" : fmt::format(", '{}'", name.data())));
  }
  // A declared shape is believed only as far as stored bytes stand behind it; deflate shrinks at most 1032 : 1.
  std::size_t declared = bytes_;
  for (const std::size_t n : shape_)
    if (__builtin_mul_overflow(declared, n, &declared)) refuse("a shape that fits memory", "a larger one");
  // What the file says is stored may be forged too.
  const Handle whole(H5Iget_file_id(id()), H5Fclose);
  hsize_t length = 0;
  if (H5Fget_filesize(whole.get(), &length) < 0) refuse("a file of a known size", "one of none");
  const hsize_t stored = std::min(H5Dget_storage_size(id()), length);
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

bool Dataset::in_range(std::size_t first, std::size_t count, std::size_t elements) const {
  return elements == count * row_size() && first + count <= rows();
}

namespace {

struct Selection {
  Handle file, memory;
};

// File and memory space of `count` whole rows from row `first`.
Selection select_rows(hid_t dataset, const std::vector<std::size_t>& shape, std::size_t first, std::size_t count) {
  Selection s{{H5Dget_space(dataset), H5Sclose}, {}};
  std::vector<hsize_t> start(shape.size(), 0), extent(shape.begin(), shape.end());
  if (!shape.empty()) {
    start[0] = first;
    extent[0] = count;
    H5Sselect_hyperslab(s.file.get(), H5S_SELECT_SET, start.data(), nullptr, extent.data(), nullptr);
  }
  s.memory = shape.empty() ? Handle(H5Screate(H5S_SCALAR), H5Sclose)
                           : Handle(H5Screate_simple(static_cast<int>(shape.size()), extent.data(), nullptr), H5Sclose);
  return s;
}

constexpr const char* kNote = "zero_chunks";
constexpr const char* kDelete = "delete that attribute if it was copied from another file";

bool all_zero(const std::byte* bytes, std::size_t n) {
  return n > 0 && bytes[0] == std::byte{0} && std::memcmp(bytes, bytes + 1, n - 1) == 0;
}

}  // namespace

void Dataset::read_note(hid_t creation) {
  if (shape_.empty() || H5Aexists(id(), kNote) <= 0) return;
  const Handle note(H5Aopen(id(), kNote, H5P_DEFAULT), H5Aclose);
  const Handle space(H5Aget_space(note.get()), H5Sclose);
  std::int64_t zero_chunks = -1;
  std::vector<hsize_t> chunk(shape_.size());
  if (H5Sget_simple_extent_npoints(space.get()) != 1 || H5Aread(note.get(), H5T_NATIVE_INT64, &zero_chunks) < 0 ||
      zero_chunks < 0)
    refuse(fmt::format("attribute '{}' to be one whole number", kNote), "another type");
  if (H5Pget_layout(creation) != H5D_CHUNKED ||
      H5Pget_chunk(creation, static_cast<int>(chunk.size()), chunk.data()) < 0 || chunk[0] == 0)
    refuse(fmt::format("chunks, since attribute '{}' counts those of zeros", kNote), "none; " + std::string(kDelete));
  if (zero_chunks == 0) chunk_rows_ = chunk[0];
}

void Dataset::refuse_lost_chunks(std::size_t first, std::size_t count, const void* rows, std::size_t row_bytes) const {
  if (chunk_rows_ == 0 || row_bytes == 0) return;
  const std::size_t end = first + count;
  for (std::size_t row = (first + chunk_rows_ - 1) / chunk_rows_ * chunk_rows_; row < end; row += chunk_rows_) {
    const std::size_t n = std::min(chunk_rows_, shape_[0] - row);
    if (row + n <= end && all_zero(static_cast<const std::byte*>(rows) + (row - first) * row_bytes, n * row_bytes))
      refuse(fmt::format("readable data, and no chunk of zeros since attribute '{}' is 0", kNote),
             fmt::format("a lost block in rows {} to {}; {}", row, row + n - 1, kDelete));
  }
}

void Dataset::seal() {
  const Exclusive alone;
  const auto zero_chunks = static_cast<std::uint64_t>(std::count(has_nonzero_.begin(), has_nonzero_.end(), false));
  const Handle space(H5Screate(H5S_SCALAR), H5Sclose);
  const Handle note(H5Acreate2(id(), kNote, H5T_NATIVE_UINT64, space.get(), H5P_DEFAULT, H5P_DEFAULT), H5Aclose);
  if (note.get() >= 0 && H5Awrite(note.get(), H5T_NATIVE_UINT64, &zero_chunks) >= 0) return;
  discard_the_rest(id());
  fail(ExitCode::io, "{}: {}: cannot write attribute '{}'", file_, path_, kNote);
}

void Dataset::read_rows(hid_t memory_type, std::size_t first, std::size_t count, void* out,
                        std::size_t elements) const {
  if (!in_range(first, count, elements))
    fail(ExitCode::bug, "{}: {}: rows {}+{} asked of {}", file_, path_, first, count, rows());
  if (class_ != ElementClass::integer && class_ != ElementClass::real) refuse("numbers", type_name_);
  if (elements == 0) return;
  if (!raw_ || raw_->element_type() != memory_type || !raw_->read(first, count, static_cast<std::byte*>(out))) {
    const Exclusive alone;
    const Selection s = select_rows(id(), shape_, first, count);
    std::memset(out, 0, elements * H5Tget_size(memory_type));  // of a chunk that is not there nothing is read
    if (H5Dread(id(), memory_type, s.memory.get(), s.file.get(), H5P_DEFAULT, out) < 0)
      refuse("readable data", fmt::format("a damaged block among those of rows {} to {}", first, first + count - 1));
  }
  refuse_lost_chunks(first, count, out, row_size() * H5Tget_size(memory_type));
}

// By way of a type that holds them all: HDF5 takes the nearest T without an error, and its callback for such numbers is
// called in vain for some types (1.10: float16, big-endian floats).
template <class T>
void Dataset::read_whole(std::size_t first, std::size_t count, std::span<T> out, std::optional<T> instead) const {
  const auto through = [&](auto number) {
    using Stored = decltype(number);
    std::vector<Stored> numbers(out.size());
    read_rows(native_type<Stored>(), first, count, numbers.data(), numbers.size());
    for (std::size_t i = 0; i < numbers.size(); ++i) {
      bool fits = true;
      if constexpr (std::is_integral_v<Stored>)
        fits = std::in_range<T>(numbers[i]);
      else  // both bounds are powers of two, or zero: exact
        fits = numbers[i] >= static_cast<double>(std::numeric_limits<T>::min()) &&
               numbers[i] < 2.0 * static_cast<double>(std::numeric_limits<T>::max() / 2 + 1) &&
               std::trunc(numbers[i]) == numbers[i];
      if (!fits && !instead)
        refuse(fmt::format("whole numbers from {} to {}", std::numeric_limits<T>::min(), std::numeric_limits<T>::max()),
               fmt::format("{} in row {}", numbers[i], first + i / row_size()));
      out[i] = fits ? static_cast<T>(numbers[i]) : *instead;
    }
  };
  if (class_ != ElementClass::integer) return through(double{});
  signed_ ? through(std::int64_t{}) : through(std::uint64_t{});
}

template void Dataset::read_whole(std::size_t, std::size_t, std::span<std::uint8_t>, std::optional<std::uint8_t>) const;
template void Dataset::read_whole(std::size_t, std::size_t, std::span<std::int32_t>, std::optional<std::int32_t>) const;
template void Dataset::read_whole(std::size_t, std::size_t, std::span<std::int64_t>, std::optional<std::int64_t>) const;
template void Dataset::read_whole(std::size_t, std::size_t, std::span<std::uint64_t>,
                                  std::optional<std::uint64_t>) const;

std::string Dataset::number_text(std::size_t row, std::size_t column) const {
  const auto text = [&](auto number) {
    std::vector<decltype(number)> numbers(row_size());
    read(row, 1, std::span(numbers));
    return fmt::format("{}", numbers.at(column));
  };
  // Of the type as it is stored where that is one of ours: then it is read as it was before (raw_chunks.hpp).
  if (class_ == ElementClass::real) return bytes_ <= sizeof(float) ? text(float{}) : text(double{});
  if (!signed_) return text(std::uint64_t{});
  return bytes_ <= sizeof(std::int32_t) ? text(std::int32_t{}) : text(std::int64_t{});
}

std::vector<std::string> Dataset::read_strings(std::size_t first, std::size_t count) const {
  if (class_ != ElementClass::text || shape_.size() != 1) refuse("a list of strings", "another type or shape");
  std::vector<std::string> strings;
  if (count == 0) return strings;
  const Exclusive alone;
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
    refuse_lost_chunks(first, count, bytes.data(), bytes_);
    for (std::size_t i = 0; i < count; ++i) {
      const char* begin = bytes.data() + i * bytes_;
      strings.emplace_back(begin, strnlen(begin, bytes_));
    }
  }
  return strings;
}

void Dataset::read_compound(hid_t memory_type, std::span<std::byte> out) const {
  const Exclusive alone;
  if (class_ != ElementClass::compound || out.size() != size() * H5Tget_size(memory_type))
    refuse("a table", "another type or shape");
  if (!out.empty() && H5Dread(id(), memory_type, H5S_ALL, H5S_ALL, H5P_DEFAULT, out.data()) < 0)
    refuse("a readable table of the known columns", "a damaged or different one");
}

void Dataset::write_rows(hid_t memory_type, std::size_t first, std::size_t count, const void* values,
                         std::size_t elements) {
  if (!in_range(first, count, elements))
    fail(ExitCode::bug, "{}: {}: rows {}+{} given for {}", file_, path_, first, count, rows());
  if (elements == 0) return;
  const Exclusive alone;
  const Selection s = select_rows(id(), shape_, first, count);
  // What a dataset still holds back when it is closed may fail then, which nobody would hear of.
  if (H5Dwrite(id(), memory_type, s.memory.get(), s.file.get(), H5P_DEFAULT, values) < 0 || H5Dflush(id()) < 0) {
    const int error = errno;
    discard_the_rest(id());
    fail(ExitCode::io, "{}: {}: cannot write: {}", file_, path_, std::strerror(error));
  }

  const std::size_t row_bytes = row_size() * H5Tget_size(memory_type), end = first + count;
  for (std::size_t row = first, next; row < end && chunk_rows_ > 0; row = next) {
    next = std::min(end, (row / chunk_rows_ + 1) * chunk_rows_);
    if (!all_zero(static_cast<const std::byte*>(values) + (row - first) * row_bytes, (next - row) * row_bytes))
      has_nonzero_[row / chunk_rows_] = true;
  }
}

}  // namespace fedmpi::hdf5
