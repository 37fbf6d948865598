// A fast 64-bit checksum that tells data sets apart. Not for security: that is what Digest is for.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <span>

namespace fedmpi {

// Of `bytes`, going on from the checksum of what came before them.
inline std::uint64_t checksum(std::span<const std::byte> bytes, std::uint64_t before = 0) {
  constexpr std::uint64_t kFactor = 0xD6E8FEB86659FD93u;
  const auto mix = [](std::uint64_t h, std::uint64_t word) {
    h = (h ^ word) * kFactor;
    return h ^ h >> 32;
  };
  const auto word_at = [](const std::byte* p, std::size_t n) {
    std::uint64_t word = 0;
    std::memcpy(&word, p, n);
    return word;
  };
  const std::byte* p = bytes.data();
  std::size_t left = bytes.size();
  std::uint64_t h = before ^ (left * 0x9E3779B97F4A7C15u);
  // Many chains side by side where there is enough, since each step waits for the one before it.
  using Lanes [[gnu::vector_size(32)]] = std::uint64_t;
  constexpr std::size_t kLanes = 4, kGroups = 8;
  if (left >= kGroups * sizeof(Lanes)) {
    std::array<Lanes, kGroups> chains;
    for (std::size_t i = 0; i < kGroups * kLanes; ++i) chains[i / kLanes][i % kLanes] = h + i;
    for (; left >= kGroups * sizeof(Lanes); left -= kGroups * sizeof(Lanes))
      for (Lanes& chain : chains) {
        Lanes words;
        std::memcpy(&words, p, sizeof words);
        p += sizeof words;
        chain = (chain ^ words) * kFactor;
        chain ^= chain >> 32;
      }
    for (const Lanes& chain : chains)
      for (std::size_t lane = 0; lane < kLanes; ++lane) h = mix(h, chain[lane]);
  }
  for (; left >= 8; p += 8, left -= 8) h = mix(h, word_at(p, 8));
  return left > 0 ? mix(h, word_at(p, left)) : h;
}

}  // namespace fedmpi
