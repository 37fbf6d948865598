// Vectors of something of every example or client, which are filled once and visited at random.
#pragma once

#include <sys/mman.h>

#include <cstddef>
#include <cstdint>
#include <memory>
#include <new>
#include <utility>
#include <vector>

#include "base/vector.hpp"

namespace fedmpi::data {

constexpr std::size_t kPage = 1 << 16, kLargePage = 1 << 21;  // bytes: whole pages on every processor

// Memory that is not zeroed first and, where there is much of it, comes in large pages if the system has them: they
// cost one fault for 512, and random rows of them miss the translation buffer less.
template <class T>
struct StoredAllocator : AlignedAllocator<T> {
  StoredAllocator() = default;
  template <class U>
  StoredAllocator(const StoredAllocator<U>&) {}
  template <class U>
  struct rebind {
    using other = StoredAllocator<U>;
  };
  T* allocate(std::size_t n) {
    if (n * sizeof(T) < kLargePage) return AlignedAllocator<T>::allocate(n);
    // From the system itself: memory that malloc has had in use before has small pages, and keeps them. A large page
    // more is mapped, to begin where one does, and what lies before and behind is given back.
    const std::size_t bytes = in_pages(n);
    void* const mapped = mmap(nullptr, bytes + kLargePage, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (mapped == MAP_FAILED) throw std::bad_alloc();
    const std::size_t before = -reinterpret_cast<std::uintptr_t>(mapped) % kLargePage;
    std::byte* const begin = static_cast<std::byte*>(mapped) + before;
    if (before > 0) munmap(mapped, before);
    munmap(begin + bytes, kLargePage - before);
    madvise(begin, bytes, MADV_HUGEPAGE);  // advice only: nothing depends on the answer
    return reinterpret_cast<T*>(begin);
  }
  void deallocate(T* p, std::size_t n) noexcept {
    if (n * sizeof(T) < kLargePage)
      AlignedAllocator<T>::deallocate(p, n);
    else
      munmap(p, in_pages(n));
  }
  void construct(T* element) { ::new (static_cast<void*>(element)) T; }
  template <class... Args>
  void construct(T* element, Args&&... args) {
    std::construct_at(element, std::forward<Args>(args)...);
  }

 private:
  static std::size_t in_pages(std::size_t n) { return (n * sizeof(T) + kPage - 1) / kPage * kPage; }
};

template <class T>
using StoredVector = std::vector<T, StoredAllocator<T>>;

}  // namespace fedmpi::data
