#include "base/vector.hpp"

#include <gtest/gtest.h>

#include <cstdint>
#include <string>

namespace fedmpi {
namespace {

template <class T>
std::uintptr_t address_of(const AlignedVector<T>& v) {
  return reinterpret_cast<std::uintptr_t>(v.data());
}

TEST(AlignedVector, BeginsAtACacheLineAndALongOneAtALargePage) {
  for (const std::size_t bytes :
       {std::size_t{1}, std::size_t{100}, kLargePage - 1, kLargePage, kLargePage + 1, 5 * kLargePage + 12345}) {
    SCOPED_TRACE(bytes);
    const AlignedVector<char> one(bytes, 'x'), other(bytes, 'y');
    for (const auto* v : {&one, &other}) EXPECT_EQ(address_of(*v) % (bytes < kLargePage ? kAlignment : kLargePage), 0u);
    EXPECT_EQ(one.back(), 'x');
    EXPECT_EQ(other.front(), 'y');
  }
}

TEST(AlignedVector, KeepsItsElementsWhileItGrowsAndShrinks) {
  Vector v;
  for (std::size_t n = 1; n < 3 * kLargePage; n *= 3) {
    v.resize(n, static_cast<float>(n));
    v.shrink_to_fit();
    EXPECT_EQ(v.front(), 1.0F);
    EXPECT_EQ(v.back(), static_cast<float>(n));
  }
  v.resize(10);
  v.shrink_to_fit();
  EXPECT_EQ(v, (Vector{1, 3, 3, 9, 9, 9, 9, 9, 9, 27}));
}

TEST(Pages, AreZeroAndAtMostWhatTheSystemHas) {
  for (const std::size_t bytes : {std::size_t{1}, 3 * kLargePage + 1}) {
    char* const pages = static_cast<char*>(map_pages(bytes));
    EXPECT_EQ(std::string(pages, bytes), std::string(bytes, '\0'));
    pages[bytes - 1] = 1;
    unmap_pages(pages, bytes);
  }
  EXPECT_THROW(map_pages(std::size_t{1} << 60), std::bad_alloc);
}

}  // namespace
}  // namespace fedmpi
