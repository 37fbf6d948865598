#include "base/pages.hpp"

#include <sys/mman.h>

#include <cstdint>
#include <new>

namespace fedmpi {

namespace {

// Whole pages on every processor.
std::size_t in_pages(std::size_t bytes) {
  constexpr std::size_t kPage = std::size_t{1} << 16;
  return (bytes + kPage - 1) / kPage * kPage;
}

}  // namespace

// A large page more is mapped, to begin where one does, and what lies before and behind is given back.
void* map_pages(std::size_t bytes) {
  const std::size_t whole = in_pages(bytes);
  void* const mapped = mmap(nullptr, whole + kLargePage, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  if (mapped == MAP_FAILED) throw std::bad_alloc();
  const std::size_t before = -reinterpret_cast<std::uintptr_t>(mapped) % kLargePage;
  std::byte* const begin = static_cast<std::byte*>(mapped) + before;
  if (before > 0) munmap(mapped, before);
  munmap(begin + whole, kLargePage - before);
  madvise(begin, whole, MADV_HUGEPAGE);  // advice only: nothing depends on the answer
  return begin;
}

void unmap_pages(void* pages, std::size_t bytes) noexcept { munmap(pages, in_pages(bytes)); }

}  // namespace fedmpi
