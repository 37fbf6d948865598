#include "secure/coder.hpp"

#include <algorithm>

namespace fedmpi::secure {

Coder::Coder(const Layout& message) : floats_(message.size()) {
  for (const Tensor& t : message.tensors()) {
    parts_.push_back({numbers_, numbers_ + t.size(), t.offset, t.options.type == Number::float64});
    numbers_ += t.size();
  }
}

// Calls work(part's index, its first float, its floats, the first of the n numbers that is in it, how many are).
template <class Work>
void Coder::for_each_part(std::size_t first, std::size_t n, Work work) const {
  for (std::size_t i = 0; i < parts_.size(); ++i) {
    const Part& p = parts_[i];
    const std::size_t begin = std::max(first, p.first), end = std::min(first + n, p.end);
    if (begin >= end) continue;
    const std::size_t width = p.wide ? 2 : 1;
    work(i, p.offset + (begin - p.first) * width, (end - begin) * width, begin - first, end - begin);
  }
}

void Coder::encode(std::span<const float> message, double weight, const Scale& scale, std::size_t first,
                   std::span<std::int64_t> sum, Encode how) const {
  for_each_part(first, sum.size(),
                [&](std::size_t i, std::size_t offset, std::size_t floats, std::size_t to, std::size_t n) {
                  const std::span<const float> values = message.subspan(offset, floats);
                  if (parts_[i].wide)
                    secure::encode(as_doubles(values), weight, scale.exponents[i], sum.subspan(to, n), how);
                  else
                    secure::encode(values, weight, scale.exponents[i], sum.subspan(to, n), how);
                });
}

void Coder::decode(std::span<const std::int64_t> sum, double factor, const Scale& scale, std::size_t first,
                   std::span<float> message) const {
  for_each_part(first, sum.size(),
                [&](std::size_t i, std::size_t offset, std::size_t floats, std::size_t from, std::size_t n) {
                  const std::span<float> values = message.subspan(offset, floats);
                  if (parts_[i].wide)
                    secure::decode(sum.subspan(from, n), factor, scale.exponents[i], as_doubles(values));
                  else
                    secure::decode(sum.subspan(from, n), factor, scale.exponents[i], values);
                });
}

}  // namespace fedmpi::secure
