// Where something is added up: to = from + what is added - minus, for every element, whatever `to` held before.
// Training reads and writes vectors of the model's size; a pass that only copies or subtracts one is felt.
#pragma once

#include <cstddef>
#include <span>

namespace fedmpi {

struct Accumulator {
  std::span<float> to;
  std::span<const float> from;        // as long, may be `to` itself; empty: zeros
  std::span<const float> minus = {};  // as long, not `to`; empty: zeros

  Accumulator part(std::size_t offset, std::size_t size) const {
    const auto cut = [&](auto all) { return all.empty() ? all : all.subspan(offset, size); };
    return {cut(to), cut(from), cut(minus)};
  }
};

}  // namespace fedmpi
