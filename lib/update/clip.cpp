// Clipping: Δ ← Δ · min(1, C / ‖Δ‖₂), so that no client moves the mean by more than its share of C. McMahan, Ramage,
// Talwar and Zhang 2018, "Learning Differentially Private Recurrent Language Models", section 2 (flat clipping).
#include <cmath>

#include "base/magnitude.hpp"
#include "update/filter.hpp"

namespace fedmpi::update {

namespace {

class Clip : public Filter {
 public:
  explicit Clip(double norm) : norm_(norm) {}

  bool apply(std::span<float> update) const override {
    const double found = norm(update);
    if (!(found > norm_) || !std::isfinite(found)) return false;
    // A little less, so that what each product is rounded by does not take the norm above the limit again.
    const float factor = static_cast<float>(norm_ / found * (1.0 - 0x1p-22));
    for (float& x : update) x *= factor;
    return true;
  }
  std::optional<float> bound() const override { return static_cast<float>(norm_); }

 private:
  double norm_;
};

}  // namespace

std::unique_ptr<Filter> make_clip(double norm) { return std::make_unique<Clip>(norm); }

}  // namespace fedmpi::update
