// Vectors for the features of many examples, which are read from a file into place and visited at random.
#pragma once

#include <sys/mman.h>

#include <cstddef>
#include <cstdint>
#include <memory>
#include <utility>
#include <vector>

#include "base/vector.hpp"

namespace fedmpi::data {

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
    constexpr std::size_t kPage = 4096, kLargePage = std::size_t{1} << 21;
    T* const memory = AlignedAllocator<T>::allocate(n);
    void* start = memory;
    std::size_t bytes = n * sizeof(T);
    if (bytes >= 2 * kLargePage && std::align(kPage, kLargePage, start, bytes) != nullptr)
      madvise(start, bytes & ~(kPage - 1), MADV_HUGEPAGE);  // advice only: nothing depends on the answer
    return memory;
  }
  void construct(T* element) { ::new (static_cast<void*>(element)) T; }
  template <class... Args>
  void construct(T* element, Args&&... args) {
    std::construct_at(element, std::forward<Args>(args)...);
  }
};

template <class T>
using StoredVector = std::vector<T, StoredAllocator<T>>;

}  // namespace fedmpi::data
