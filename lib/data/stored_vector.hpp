// Vectors of something of every example or client, which are filled once and visited at random.
#pragma once

#include <memory>
#include <new>
#include <utility>
#include <vector>

#include "base/vector.hpp"

namespace fedmpi::data {

// Memory that is not zeroed first.
template <class T>
struct StoredAllocator : AlignedAllocator<T> {
  StoredAllocator() = default;
  template <class U>
  StoredAllocator(const StoredAllocator<U>&) {}
  template <class U>
  struct rebind {
    using other = StoredAllocator<U>;
  };
  void construct(T* element) { ::new (static_cast<void*>(element)) T; }
  template <class... Args>
  void construct(T* element, Args&&... args) {
    std::construct_at(element, std::forward<Args>(args)...);
  }
};

template <class T>
using StoredVector = std::vector<T, StoredAllocator<T>>;

}  // namespace fedmpi::data
