// One vector register of floats, as wide as the machine that the program is compiled for has them.
#pragma once

#include <cstddef>

#if defined(__AVX512F__) || (defined(__AVX2__) && defined(__FMA__))
#include <immintrin.h>
#endif

namespace fedmpi::model::kernels {

#if defined(__AVX2__) && defined(__FMA__)

// to[0 … n - 1] = start + the first n sums
inline void add_first(__m128 sums, const float* start, float* to, std::size_t n) {
  if (n == 4) return _mm_storeu_ps(to, _mm_add_ps(_mm_loadu_ps(start), sums));
  alignas(16) float all[4];
  _mm_store_ps(all, sums);
  for (std::size_t i = 0; i < n; ++i) to[i] = start[i] + all[i];
}

#endif

#if defined(__AVX512F__)

struct Pack {
  static constexpr std::size_t lanes = 16, registers = 32;
  __m512 v;

  static Pack load(const float* p) { return {_mm512_loadu_ps(p)}; }
  static Pack load(const float* p, std::size_t n) { return {_mm512_maskz_loadu_ps(mask(n), p)}; }  // n lanes, rest 0
  static Pack all(float x) { return {_mm512_set1_ps(x)}; }
  void store(float* p) const { _mm512_storeu_ps(p, v); }
  void store(float* p, std::size_t n) const { _mm512_mask_storeu_ps(p, mask(n), v); }
  void add(Pack a) { v = _mm512_add_ps(v, a.v); }
  void subtract(Pack a) { v = _mm512_sub_ps(v, a.v); }
  void add_product(Pack a, Pack b) { v = _mm512_fmadd_ps(a.v, b.v, v); }  // v += a · b, rounded once
  // Compilers would rather load a value again for each use, and loads are what limits dot products.
  void keep() { asm("" : "+v"(v)); }
  // to[0 … n - 1] = start + the sums over the lanes of the first n, all in one and the same order.
  static void add_sums(Pack a, Pack b, Pack c, Pack d, const float* start, float* to, std::size_t n) {
    const __m512 ab = _mm512_add_ps(_mm512_unpacklo_ps(a.v, b.v), _mm512_unpackhi_ps(a.v, b.v));
    const __m512 cd = _mm512_add_ps(_mm512_unpacklo_ps(c.v, d.v), _mm512_unpackhi_ps(c.v, d.v));
    const __m512 quarters = _mm512_add_ps(_mm512_shuffle_ps(ab, cd, 0x44), _mm512_shuffle_ps(ab, cd, 0xEE));
    const __m256 halves = _mm256_add_ps(_mm512_castps512_ps256(quarters),
                                        _mm256_castpd_ps(_mm512_extractf64x4_pd(_mm512_castps_pd(quarters), 1)));
    add_first(_mm_add_ps(_mm256_castps256_ps128(halves), _mm256_extractf128_ps(halves, 1)), start, to, n);
  }

 private:
  static __mmask16 mask(std::size_t n) { return static_cast<__mmask16>((1u << n) - 1u); }
};

#elif defined(__AVX2__) && defined(__FMA__)

struct Pack {
  static constexpr std::size_t lanes = 8, registers = 16;
  __m256 v;

  static Pack load(const float* p) { return {_mm256_loadu_ps(p)}; }
  static Pack load(const float* p, std::size_t n) { return {_mm256_maskload_ps(p, mask(n))}; }
  static Pack all(float x) { return {_mm256_set1_ps(x)}; }
  void store(float* p) const { _mm256_storeu_ps(p, v); }
  void store(float* p, std::size_t n) const { _mm256_maskstore_ps(p, mask(n), v); }
  void add(Pack a) { v = _mm256_add_ps(v, a.v); }
  void subtract(Pack a) { v = _mm256_sub_ps(v, a.v); }
  void add_product(Pack a, Pack b) { v = _mm256_fmadd_ps(a.v, b.v, v); }
  void keep() { asm("" : "+x"(v)); }
  static void add_sums(Pack a, Pack b, Pack c, Pack d, const float* start, float* to, std::size_t n) {
    const __m256 halves = _mm256_hadd_ps(_mm256_hadd_ps(a.v, b.v), _mm256_hadd_ps(c.v, d.v));
    add_first(_mm_add_ps(_mm256_castps256_ps128(halves), _mm256_extractf128_ps(halves, 1)), start, to, n);
  }

 private:
  static __m256i mask(std::size_t n) {
    const __m256i lane = _mm256_setr_epi32(0, 1, 2, 3, 4, 5, 6, 7);
    return _mm256_cmpgt_epi32(_mm256_set1_epi32(static_cast<int>(n)), lane);
  }
};

#else

struct Pack {  // for other processors: plain loops that a compiler turns into what it has
  static constexpr std::size_t lanes = 4, registers = 16;
  float v[lanes];

  static Pack load(const float* p) { return load(p, lanes); }
  static Pack load(const float* p, std::size_t n) {
    Pack x{};
    for (std::size_t i = 0; i < n; ++i) x.v[i] = p[i];
    return x;
  }
  static Pack all(float x) { return {{x, x, x, x}}; }
  void store(float* p) const { store(p, lanes); }
  void store(float* p, std::size_t n) const {
    for (std::size_t i = 0; i < n; ++i) p[i] = v[i];
  }
  void add(Pack a) {
    for (std::size_t i = 0; i < lanes; ++i) v[i] += a.v[i];
  }
  void subtract(Pack a) {
    for (std::size_t i = 0; i < lanes; ++i) v[i] -= a.v[i];
  }
  void add_product(Pack a, Pack b) {
#ifdef __FP_FAST_FMAF  // by name, so that the compiler does not choose from one tile to the next
    for (std::size_t i = 0; i < lanes; ++i) v[i] = __builtin_fmaf(a.v[i], b.v[i], v[i]);
#else
    for (std::size_t i = 0; i < lanes; ++i) v[i] += a.v[i] * b.v[i];
#endif
  }
  void keep() {}
  static void add_sums(Pack a, Pack b, Pack c, Pack d, const float* start, float* to, std::size_t n) {
    const Pack* packs[] = {&a, &b, &c, &d};
    for (std::size_t i = 0; i < n; ++i) to[i] = start[i] + packs[i]->sum();
  }

 private:
  float sum() const { return (v[0] + v[1]) + (v[2] + v[3]); }
};

#endif

}  // namespace fedmpi::model::kernels
