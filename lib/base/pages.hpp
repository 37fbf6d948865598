// Memory from the system itself, in large pages where it has them: they cost one fault for 512, miss the translation
// buffer less, and are copied faster, also to another process. Memory that malloc has had in use before has small
// pages, and keeps them.
#pragma once

#include <cstddef>

namespace fedmpi {

inline constexpr std::size_t kLargePage = std::size_t{1} << 21;  // bytes, on most processors

// So many bytes, all zero, from the beginning of a large page on. A page that nobody has touched costs nothing.
// Throws std::bad_alloc.
void* map_pages(std::size_t bytes);
void unmap_pages(void* pages, std::size_t bytes) noexcept;  // as many as were mapped

}  // namespace fedmpi
