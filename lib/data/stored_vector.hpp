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

constexpr std::size_t kLargePage = std::size_t{1} << 21;  // bytes, of x86-64 and most of the others

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
    // From the system itself: memory that malloc has had in use before has small pages, and keeps them.
    void* const memory = mmap(nullptr, n * sizeof(T), PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (memory == MAP_FAILED) throw std::bad_alloc();
    madvise(memory, n * sizeof(T), MADV_HUGEPAGE);  // advice only: nothing depends on the answer
    return static_cast<T*>(memory);
  }
  void deallocate(T* p, std::size_t n) noexcept {
    if (n * sizeof(T) < kLargePage)
      AlignedAllocator<T>::deallocate(p, n);
    else
      munmap(p, n * sizeof(T));
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
