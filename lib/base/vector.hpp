// The one currency: flat vectors of floats, aligned so that vector instructions start at the same element
// everywhere. Equal alignment is part of the promise of equal bits: a reduction that peels its first elements
// up to an alignment boundary sums in an order that depends on the address.
#pragma once

#include <cstddef>
#include <new>
#include <vector>

#include "base/pages.hpp"

namespace fedmpi {

inline constexpr std::size_t kAlignment = 64;  // bytes: a cache line, an AVX-512 register

template <class T>
struct AlignedAllocator {
  using value_type = T;
  AlignedAllocator() = default;
  template <class U>
  AlignedAllocator(const AlignedAllocator<U>&) {}
  T* allocate(std::size_t n) {
    const std::size_t bytes = n * sizeof(T);
    return static_cast<T*>(bytes < kLargePage ? ::operator new (bytes, std::align_val_t{kAlignment})
                                              : map_pages(bytes));
  }
  void deallocate(T* p, std::size_t n) noexcept {
    if (n * sizeof(T) < kLargePage)
      ::operator delete (p, std::align_val_t{kAlignment});
    else
      unmap_pages(p, n * sizeof(T));
  }
  bool operator==(const AlignedAllocator&) const = default;
};

template <class T>
using AlignedVector = std::vector<T, AlignedAllocator<T>>;

using Vector = AlignedVector<float>;  // parameters, gradients, updates

}  // namespace fedmpi
