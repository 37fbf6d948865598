// Updates as fixed-point numbers in the ring of 64-bit integers. Integer addition is associative, so a sum
// has the same bits for any order, any number of ranks and any placement of clients.
//
// A value x is encoded as round(x · 2^e). With weights that sum to 1, a weighted sum is no larger than the
// largest |x|, so it cannot overflow as long as every |x| · 2^e stays within 2^62: see fits().
#pragma once

#include <cstdint>
#include <span>

namespace fedmpi::secure {

// Before the first round, when nothing is known of the updates' size: values from 2^-8 to 2^20 fit.
inline constexpr int kFirstExponent = 42;

// The exponent that puts `largest` (> 0) 50 bits above the last place and leaves 12 bits of headroom.
int exponent_for(float largest);

// Whether values of that largest magnitude would outgrow 62 bits: they must not be added.
bool overflows(float largest, int exponent);

// Whether values of that largest magnitude neither overflow nor lose more than the rounding of float32: the
// largest has from 34 to 62 bits. Zero fits always.
bool fits(float largest, int exponent);

// sum[j] = or += round(weight · values[j] · 2^exponent)
enum class Encode { set, add };
void encode(std::span<const float> values, double weight, int exponent, std::span<std::int64_t> sum, Encode how);
void encode(std::span<const double> values, double weight, int exponent, std::span<std::int64_t> sum, Encode how);

// sum[j] = or += part[j]
void add(std::span<const std::int64_t> part, std::span<std::int64_t> sum, Encode how);

// values[j] = factor · sum[j] · 2^-exponent
void decode(std::span<const std::int64_t> sum, double factor, int exponent, std::span<float> values);
void decode(std::span<const std::int64_t> sum, double factor, int exponent, std::span<double> values);

}  // namespace fedmpi::secure
