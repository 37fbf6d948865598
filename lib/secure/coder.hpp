// A message as integers: each number of each tensor of its layout, one after the other, by the scale of its tensor.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <vector>

#include "base/layout.hpp"
#include "secure/ring.hpp"
#include "secure/scale.hpp"

namespace fedmpi::secure {

class Coder {
 public:
  explicit Coder(const Layout& message);

  std::size_t numbers() const { return numbers_; }  // integers that a sum of such messages has
  std::size_t floats() const { return floats_; }    // the length of a message

  // sum[j] = or += round(weight · number first + j · 2^exponent)
  void encode(std::span<const float> message, double weight, const Scale& scale, std::size_t first,
              std::span<std::int64_t> sum, Encode how) const;
  // Number first + j of the message = factor · sum[j] · 2^-exponent
  void decode(std::span<const std::int64_t> sum, double factor, const Scale& scale, std::size_t first,
              std::span<float> message) const;

 private:
  struct Part {
    std::size_t first, end, offset;  // numbers first … end-1 begin at that float
    bool wide;                       // two floats each
  };
  template <class Work>
  void for_each_part(std::size_t first, std::size_t n, Work work) const;

  std::vector<Part> parts_;
  std::size_t numbers_ = 0, floats_ = 0;
};

}  // namespace fedmpi::secure
