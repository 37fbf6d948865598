#include "secure/ring.hpp"

#include <algorithm>
#include <bit>
#include <cmath>

#if defined(__AVX512F__) && defined(__AVX512DQ__)
#include <immintrin.h>
#endif

#include "base/magnitude.hpp"

namespace fedmpi::secure {

int exponent_for(float largest) { return 50 - (std::ilogb(largest) + 1); }

bool overflows(float largest, int exponent) { return std::ldexp(static_cast<double>(largest), exponent) > 0x1p62; }

bool fits(float largest, int exponent) {
  if (largest == 0.0F) return true;
  return !overflows(largest, exponent) && std::ldexp(static_cast<double>(largest), exponent) >= 0x1p34;
}

namespace {

// Conversions between double and 64-bit integers, of operations that compilers vectorise: AVX2 has no instruction for
// them, and one at a time they take longer than all else in an exchange. A number plus a power of two has its integer
// in the last bits. Usually all are `small`, none above 2^51, and need half the work. This file is compiled with
// -ffp-contract=off, since what is converted has been rounded to a double.
constexpr double kUnits = 0x1.8p52, kMultiples = 0x1.8p63;  // the last bits of such numbers are of 1, and of 2^11

constexpr std::int64_t bits(double x) { return std::bit_cast<std::int64_t>(x); }

// x rounded to an integer, ties to even, for |x| ≤ 2^62.
template <bool small>
std::int64_t to_integer(double x) {
  const auto nearest = [](double y) { return bits(y + kUnits) - bits(kUnits); };
  if constexpr (small) return nearest(x);
  const double high = (x + kMultiples) - kMultiples;
  return (nearest(high * 0x1p-11) << 11) + nearest(x - high);
}

// The double nearest to x.
template <bool small>
double to_double(std::int64_t x) {
  if constexpr (small) return std::bit_cast<double>(x + bits(kUnits)) - kUnits;
  const double high = std::bit_cast<double>((((x >> 32) ^ 0x80000000) & 0xffffffff) | bits(0x1p84));
  const double low = std::bit_cast<double>((x & 0xffffffff) | bits(0x1p52));
  return (high - (0x1p84 + 0x1p63 + 0x1p52)) + low;
}

[[maybe_unused]] bool are_small(std::span<const std::int64_t> values) {
  std::uint64_t outside = 0;
  for (const std::int64_t x : values) outside |= static_cast<std::uint64_t>(x) + (std::uint64_t{1} << 51);
  return outside >> 52 == 0;
}

template <Encode how, bool small, class Real>
void encode_from(std::size_t first, std::span<const Real> values, double factor, std::int64_t* sum) {
  for (std::size_t j = first; j < values.size(); ++j) {
    const std::int64_t term = to_integer<small>(static_cast<double>(values[j]) * factor);
    sum[j] = how == Encode::set ? term : sum[j] + term;
  }
}

template <Encode how>
void encode_all(std::span<const float> values, double factor, std::int64_t* sum) {
#if defined(__AVX512F__) && defined(__AVX512DQ__)
  std::size_t j = 0;
  for (const __m512d factors = _mm512_set1_pd(factor); j + 8 <= values.size(); j += 8) {
    const __m512d products = _mm512_mul_pd(_mm512_cvtps_pd(_mm256_loadu_ps(values.data() + j)), factors);
    __m512i terms = _mm512_cvt_roundpd_epi64(products, _MM_FROUND_TO_NEAREST_INT | _MM_FROUND_NO_EXC);
    if constexpr (how == Encode::add) terms = _mm512_add_epi64(terms, _mm512_loadu_si512(sum + j));
    _mm512_storeu_si512(sum + j, terms);
  }
  encode_from<how, false>(j, values, factor, sum);
#else
  if (static_cast<double>(largest_magnitude(values)) * std::abs(factor) <= 0x1p51)
    encode_from<how, true>(0, values, factor, sum);
  else
    encode_from<how, false>(0, values, factor, sum);
#endif
}

template <class Real, class ToDouble>
void decode_all(std::span<const std::int64_t> sum, double scale, std::span<Real> values, ToDouble to_double) {
  for (std::size_t j = 0; j < values.size(); ++j) values[j] = static_cast<Real>(to_double(sum[j]) * scale);
}

}  // namespace

void encode(std::span<const float> values, double weight, int exponent, std::span<std::int64_t> sum, Encode how) {
  const double factor = std::ldexp(weight, exponent);
  if (how == Encode::set)
    encode_all<Encode::set>(values, factor, sum.data());
  else
    encode_all<Encode::add>(values, factor, sum.data());
}

void encode(std::span<const double> values, double weight, int exponent, std::span<std::int64_t> sum, Encode how) {
  const double factor = std::ldexp(weight, exponent);
  if (how == Encode::set)
    encode_from<Encode::set, false>(0, values, factor, sum.data());
  else
    encode_from<Encode::add, false>(0, values, factor, sum.data());
}

void add(std::span<const std::int64_t> part, std::span<std::int64_t> sum, Encode how) {
  if (how == Encode::set)
    std::copy(part.begin(), part.end(), sum.begin());
  else
    for (std::size_t j = 0; j < sum.size(); ++j) sum[j] += part[j];
}

void decode(std::span<const std::int64_t> sum, double factor, int exponent, std::span<float> values) {
  const double scale = std::ldexp(factor, -exponent);
#if defined(__AVX512DQ__)
  decode_all(sum, scale, values, [](std::int64_t x) { return static_cast<double>(x); });
#else
  if (are_small(sum))
    decode_all(sum, scale, values, to_double<true>);
  else
    decode_all(sum, scale, values, to_double<false>);
#endif
}

void decode(std::span<const std::int64_t> sum, double factor, int exponent, std::span<double> values) {
  decode_all(sum, std::ldexp(factor, -exponent), values, [](std::int64_t x) { return static_cast<double>(x); });
}

}  // namespace fedmpi::secure
