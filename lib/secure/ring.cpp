#include "secure/ring.hpp"

#include <algorithm>
#include <cmath>

#if defined(__AVX512F__) && defined(__AVX512DQ__)
#include <immintrin.h>
#endif

namespace fedmpi::secure {

int exponent_for(float largest) { return 50 - (std::ilogb(largest) + 1); }

bool overflows(float largest, int exponent) { return std::ldexp(static_cast<double>(largest), exponent) > 0x1p62; }

bool fits(float largest, int exponent) {
  if (largest == 0.0F) return true;
  return !overflows(largest, exponent) && std::ldexp(static_cast<double>(largest), exponent) >= 0x1p34;
}

namespace {

// The terms from `first` on, one at a time.
template <Encode how>
void encode_from(std::size_t first, std::span<const float> values, double factor, std::int64_t* sum) {
  for (std::size_t j = first; j < values.size(); ++j) {
    const auto term = static_cast<std::int64_t>(std::rint(static_cast<double>(values[j]) * factor));
    sum[j] = how == Encode::set ? term : sum[j] + term;
  }
}

template <Encode how>
void encode_all(std::span<const float> values, double factor, std::int64_t* sum) {
  std::size_t j = 0;
#if defined(__AVX512F__) && defined(__AVX512DQ__)  // compilers do not vectorise rounding to a 64-bit integer
  for (const __m512d factors = _mm512_set1_pd(factor); j + 8 <= values.size(); j += 8) {
    const __m512d products = _mm512_mul_pd(_mm512_cvtps_pd(_mm256_loadu_ps(values.data() + j)), factors);
    __m512i terms = _mm512_cvt_roundpd_epi64(products, _MM_FROUND_TO_NEAREST_INT | _MM_FROUND_NO_EXC);
    if constexpr (how == Encode::add) terms = _mm512_add_epi64(terms, _mm512_loadu_si512(sum + j));
    _mm512_storeu_si512(sum + j, terms);
  }
#endif
  encode_from<how>(j, values, factor, sum);
}

}  // namespace

void encode(std::span<const float> values, double weight, int exponent, std::span<std::int64_t> sum, Encode how) {
  const double factor = std::ldexp(weight, exponent);
  if (how == Encode::set)
    encode_all<Encode::set>(values, factor, sum.data());
  else
    encode_all<Encode::add>(values, factor, sum.data());
}

void add(std::span<const std::int64_t> part, std::span<std::int64_t> sum, Encode how) {
  if (how == Encode::set)
    std::copy(part.begin(), part.end(), sum.begin());
  else
    for (std::size_t j = 0; j < sum.size(); ++j) sum[j] += part[j];
}

void decode(std::span<const std::int64_t> sum, double factor, int exponent, std::span<float> values) {
  const double scale = std::ldexp(factor, -exponent);
  for (std::size_t j = 0; j < values.size(); ++j) values[j] = static_cast<float>(static_cast<double>(sum[j]) * scale);
}

}  // namespace fedmpi::secure
