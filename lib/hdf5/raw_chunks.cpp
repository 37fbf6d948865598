#include "hdf5/raw_chunks.hpp"

#include <fcntl.h>
#include <sys/stat.h>
#include <sys/uio.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <bit>
#include <cstring>

namespace fedmpi::hdf5 {

namespace {

constexpr std::size_t kChecksumBytes = 4;  // after the data of each chunk

// HDF5 before 1.14 walks from the first chunk to each one it is asked for: 8,192 of them take two seconds.
#if H5_VERSION_GE(1, 14, 0)
constexpr std::size_t kMostChunks = SIZE_MAX;
#else
constexpr std::size_t kMostChunks = 8192;
#endif

// Modulo 65535, with 65535 rather than 0 for what is not zero, as the library has it.
std::uint64_t folded(std::uint64_t x) {
  while (x > 0xFFFF) x = (x & 0xFFFF) + (x >> 16);
  return x;
}

std::uint32_t swapped(std::uint64_t word) { return static_cast<std::uint32_t>(((word & 0xFF) << 8) | (word >> 8)); }

hid_t native_type_of(hid_t dataset) {
  const Handle type(H5Dget_type(dataset), H5Tclose);
  for (const hid_t native : {native_type<float>(), native_type<double>(), native_type<std::uint8_t>(),
                             native_type<std::int32_t>(), native_type<std::int64_t>(), native_type<std::uint64_t>()})
    if (H5Tequal(type.get(), native) > 0) return native;
  return -1;
}

bool only_fletcher32(hid_t creation) {
  unsigned flags = 0;
  std::size_t values = 0;
  return H5Pget_layout(creation) == H5D_CHUNKED && H5Pget_nfilters(creation) == 1 &&
         H5Pget_filter2(creation, 0, &flags, &values, nullptr, 0, nullptr, nullptr) == H5Z_FILTER_FLETCHER32;
}

// As the library writes it, or with the bytes of each half exchanged, as versions before 1.6.3 did.
bool checksum_holds(std::span<const std::byte> data, const std::array<std::uint8_t, kChecksumBytes>& stored) {
  const auto byte = [&](std::size_t i) { return std::uint32_t{stored[i]} << 8 * i; };
  const std::uint32_t found = byte(0) | byte(1) | byte(2) | byte(3);
  const std::uint32_t expected = fletcher32(data);
  return found == expected || found == (swapped(expected & 0xFFFF) | swapped(expected >> 16) << 16);
}

// True when all of `parts` came.
bool read_at(int file, std::uint64_t address, std::span<const iovec> parts) {
  std::size_t bytes = 0;
  for (const iovec& part : parts) bytes += part.iov_len;
  return preadv(file, parts.data(), static_cast<int>(parts.size()), static_cast<off_t>(address)) ==
         static_cast<ssize_t>(bytes);
}

// One chunk whose checksum holds.
bool read_chunk(int file, std::uint64_t address, std::span<std::byte> data) {
  std::array<std::uint8_t, kChecksumBytes> stored{};
  const std::array<iovec, 2> parts = {{{data.data(), data.size()}, {stored.data(), stored.size()}}};
  return read_at(file, address, parts) && checksum_holds(data, stored);
}

}  // namespace

std::uint32_t fletcher32(std::span<const std::byte> bytes) {
  // sum1 = Σ w_i and sum2 = Σ (n - i) w_i over the words w_0 … w_(n-1). The words are taken as a little-endian machine
  // reads them: exchanging the bytes of a word is, modulo 65535, multiplying it by 256, and so it is for the sums.
  // Eight lanes each sum the low (a) and the high words (c) of 32-bit numbers, and these sums again (b, d), up to the
  // number of steps at which b and d are sure to hold.
  using Lanes [[gnu::vector_size(32)]] = std::uint32_t;
  constexpr std::size_t kLanes = 8, kSteps = 360, kWords = 2 * kLanes;  // words: of a step
  std::uint64_t sum1 = 0, sum2 = 0;
  const std::byte* at = bytes.data();
  std::size_t left = bytes.size();
  while (left >= sizeof(Lanes)) {
    const std::size_t steps = std::min(left / sizeof(Lanes), kSteps);
    Lanes a{}, b{}, c{}, d{};
    for (std::size_t step = 0; step < steps; ++step, at += sizeof(Lanes)) {
      Lanes x;
      std::memcpy(&x, at, sizeof x);
      b += a;
      d += c;
      a += x & 0xFFFF;
      c += x >> 16;
    }
    left -= steps * sizeof(Lanes);
    sum2 += steps * kWords * sum1;
    for (std::size_t lane = 0; lane < kLanes; ++lane) {
      const std::uint64_t weight = kWords - 2 * lane;
      sum1 += std::uint64_t{a[lane]} + c[lane];
      sum2 += kWords * (std::uint64_t{b[lane]} + d[lane]) + weight * a[lane] + (weight - 1) * c[lane];
    }
    sum1 = folded(sum1);
    sum2 = folded(sum2);
  }
  for (std::size_t i = 0; i < left; i += 2) {
    sum1 += std::to_integer<std::uint64_t>(at[i]) | (i + 1 < left ? std::to_integer<std::uint64_t>(at[i + 1]) << 8 : 0);
    sum2 += sum1;
  }
  return swapped(folded(sum2)) << 16 | swapped(folded(sum1));
}

int descriptor_of(hid_t file) {
  static const bool through_read = H5Pget_driver(H5P_FILE_ACCESS_DEFAULT) == H5FD_SEC2;
  unsigned intent = H5F_ACC_RDWR;
  void* descriptor = nullptr;
  if (!through_read || H5Fget_intent(file, &intent) < 0 || intent != H5F_ACC_RDONLY ||
      H5Fget_vfd_handle(file, H5P_DEFAULT, &descriptor) < 0 || descriptor == nullptr)
    return -1;
  // Without a user block the signature comes first.
  const int fd = *static_cast<const int*>(descriptor);
  std::array<char, 8> first{};
  return pread(fd, first.data(), first.size(), 0) == 8 && std::memcmp(first.data(), "\x89HDF\r\n\x1a\n", 8) == 0 ? fd
                                                                                                                 : -1;
}

std::unique_ptr<RawChunks> RawChunks::of(hid_t dataset, hid_t creation, int descriptor) {
  if (std::endian::native != std::endian::little || descriptor < 0 || !only_fletcher32(creation)) return nullptr;
  const Handle space(H5Dget_space(dataset), H5Sclose);
  std::array<hsize_t, H5S_MAX_RANK> extent{}, chunk{};
  const int rank = H5Sget_simple_extent_dims(space.get(), extent.data(), nullptr);
  if (rank < 1 || H5Pget_chunk(creation, rank, chunk.data()) != rank || extent[0] == 0 ||
      !std::equal(extent.begin() + 1, extent.begin() + rank, chunk.begin() + 1))
    return nullptr;

  std::unique_ptr<RawChunks> raw(new RawChunks);
  raw->dataset_ = dataset;
  raw->file_ = descriptor;
  raw->type_ = native_type_of(dataset);
  if (raw->type_ < 0) return nullptr;
  raw->row_bytes_ = H5Tget_size(raw->type_);
  for (int d = 1; d < rank; ++d) raw->row_bytes_ *= extent[static_cast<std::size_t>(d)];
  raw->chunk_rows_ = chunk[0];
  raw->chunks_ = (extent[0] - 1) / chunk[0] + 1;
  const bool crumbs = raw->chunks_ > 1 && raw->chunk_rows_ * raw->row_bytes_ < 4096;  // a list longer than it is worth
  return raw->row_bytes_ == 0 || raw->chunks_ > kMostChunks || crumbs ? nullptr : std::move(raw);
}

bool RawChunks::located() {
  if (!asked_) locate();
  asked_ = true;
  return !addresses_.empty();
}

// Asks the library where the chunks are.
void RawChunks::locate() {
  const Exclusive alone;
  struct Found {
    std::uint64_t bytes, end;       // of a stored chunk; of the file
    std::vector<hsize_t> rows;      // first row of each chunk
    std::vector<std::uint64_t> at;  // its address
    bool plain = true;
    void add(hsize_t row, unsigned skipped_filters, haddr_t address, hsize_t size) {
      plain = plain && skipped_filters == 0 && size == bytes && address < end && end - address >= bytes;
      rows.push_back(row);
      at.push_back(address);
    }
  };
  struct stat info {};
  if (fstat(file_, &info) != 0) return;
  Found found{chunk_rows_ * row_bytes_ + kChecksumBytes, static_cast<std::uint64_t>(info.st_size), {}, {}};
#if H5_VERSION_GE(1, 14, 0)
  const auto visit = [](const hsize_t* offset, unsigned mask, haddr_t address, hsize_t size, void* to) -> int {
    static_cast<Found*>(to)->add(offset[0], mask, address, size);
    return H5_ITER_CONT;
  };
  if (H5Dchunk_iter(dataset_, H5P_DEFAULT, visit, &found) < 0) return;
#else
  const Handle space(H5Dget_space(dataset_), H5Sclose);
  hsize_t stored = 0;
  if (H5Dget_num_chunks(dataset_, space.get(), &stored) < 0 || stored != chunks_) return;
  for (hsize_t i = 0; i < stored; ++i) {
    std::array<hsize_t, H5S_MAX_RANK> offset{};
    unsigned mask = 0;
    haddr_t address = HADDR_UNDEF;
    hsize_t size = 0;
    if (H5Dget_chunk_info(dataset_, space.get(), i, offset.data(), &mask, &address, &size) < 0) return;
    found.add(offset[0], mask, address, size);
  }
#endif
  if (!found.plain || found.rows.size() != chunks_) return;
  // Some versions count in chunks rather than in rows.
  const bool in_chunks = *std::max_element(found.rows.begin(), found.rows.end()) == chunks_ - 1;
  std::vector<std::uint64_t> addresses(chunks_, HADDR_UNDEF);
  for (std::size_t i = 0; i < chunks_; ++i) {
    const std::size_t chunk = found.rows[i] / (in_chunks ? 1 : chunk_rows_);
    if (chunk >= chunks_ || addresses[chunk] != HADDR_UNDEF) return;
    addresses[chunk] = found.at[i];
  }
  addresses_ = std::move(addresses);
}

// Calls take(chunk, first row within it, rows, place of the first) for each chunk that has some of those rows.
template <class Take>
bool RawChunks::for_each_chunk(std::size_t first, std::size_t count, std::byte* out, Take take) {
  if (!located()) return false;
  for (std::size_t row = first, end = first + count; row < end;) {
    const std::size_t chunk = row / chunk_rows_, from = row % chunk_rows_;
    const std::size_t rows = std::min(chunk_rows_ - from, end - row);
    if (!take(chunk, from, rows, out)) return false;
    row += rows;
    if (out != nullptr) out += rows * row_bytes_;
  }
  return true;
}

bool RawChunks::load(std::size_t chunk) {
  if (chunk == loaded_chunk_) return true;
  loaded_chunk_ = SIZE_MAX;
  loaded_.resize(chunk_rows_ * row_bytes_);
  if (!read_chunk(file_, addresses_[chunk], loaded_)) return false;
  loaded_chunk_ = chunk;
  return true;
}

bool RawChunks::read(std::size_t first, std::size_t count, std::byte* out) {
  return for_each_chunk(first, count, out, [&](std::size_t chunk, std::size_t from, std::size_t rows, std::byte* to) {
    if (rows == chunk_rows_) return read_chunk(file_, addresses_[chunk], {to, rows * row_bytes_});
    if (!load(chunk)) return false;
    std::memcpy(to, loaded_.data() + from * row_bytes_, rows * row_bytes_);
    return true;
  });
}

bool RawChunks::read_unchecked(std::size_t first, std::size_t count, std::byte* out) {
  return for_each_chunk(first, count, out, [&](std::size_t chunk, std::size_t from, std::size_t rows, std::byte* to) {
    const iovec part{to, rows * row_bytes_};
    return read_at(file_, addresses_[chunk] + from * row_bytes_, {&part, 1});
  });
}

void RawChunks::will_need(std::size_t first, std::size_t count) {
  for_each_chunk(first, count, nullptr, [&](std::size_t chunk, std::size_t from, std::size_t rows, std::byte*) {
    posix_fadvise(file_, static_cast<off_t>(addresses_[chunk] + from * row_bytes_),
                  static_cast<off_t>(rows * row_bytes_), POSIX_FADV_WILLNEED);
    return true;
  });
}

}  // namespace fedmpi::hdf5
