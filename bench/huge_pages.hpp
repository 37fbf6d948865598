// Vectors in large pages, as NumPy has them: what is copied, also from process to process, goes faster.
#pragma once

#include <sys/mman.h>

#include <cstddef>
#include <new>
#include <vector>

namespace fedmpi::bench {

template <class T>
struct HugePages {
  static constexpr std::align_val_t kPage{2 << 20};
  using value_type = T;
  HugePages() = default;
  template <class U>
  HugePages(const HugePages<U>&) {}
  T* allocate(std::size_t n) {
    void* p = ::operator new(n * sizeof(T), kPage);
    madvise(p, n * sizeof(T), MADV_HUGEPAGE);  // where there are none, pages of the usual size
    return static_cast<T*>(p);
  }
  void deallocate(T* p, std::size_t) noexcept { ::operator delete(p, kPage); }
  bool operator==(const HugePages&) const = default;
};

template <class T>
using HugeVector = std::vector<T, HugePages<T>>;

}  // namespace fedmpi::bench
