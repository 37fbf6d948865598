// A fast 64-bit checksum that tells data sets apart. Not for security: that is what Digest is for.
#pragma once

#include <cstddef>
#include <cstdint>
#include <cstring>
#include <span>

namespace fedmpi {

// Of `bytes`, going on from the checksum of what came before them.
inline std::uint64_t checksum(std::span<const std::byte> bytes, std::uint64_t before = 0) {
  std::uint64_t h = before ^ (bytes.size() * 0x9E3779B97F4A7C15u);
  while (!bytes.empty()) {
    std::uint64_t word = 0;
    const std::size_t n = bytes.size() < 8 ? bytes.size() : 8;
    std::memcpy(&word, bytes.data(), n);
    h = (h ^ word) * 0xD6E8FEB86659FD93u;
    h ^= h >> 32;
    bytes = bytes.subspan(n);
  }
  return h;
}

}  // namespace fedmpi
