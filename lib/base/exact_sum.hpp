// A sum of doubles whose result does not depend on the order of the terms: a fixed-point number of 384 bits
// in 32-bit digits, each held in a 64-bit integer so that 2^31 terms fit before a carry is due (Kulisch's
// accumulator, cut to the range of losses: 2^-88 … 2^295, where a float's square is below 2^256). Two of them add digit
// by digit, which is what MPI_SUM on int64 does.
#pragma once

#include <array>
#include <cstdint>

namespace fedmpi {

class ExactSum {
 public:
  void add(double x);
  void add(const ExactSum& other);
  double value() const;  // NaN when a NaN or an infinity was added, or a term beyond the range

 private:
  static constexpr int kDigits = 12;
  static constexpr int kLowestBit = -88;  // weight of the lowest bit: 2^-88

  std::array<std::int64_t, kDigits> digits_{};
  std::int64_t not_finite_ = 0;
};

}  // namespace fedmpi
