// Adam: m ← β1 m + (1-β1) Δ, v ← β2 v + (1-β2) Δ², w ← w + η m̂ / (√v̂ + τ), with m̂ = m / (1-β1^t) and
// v̂ = v / (1-β2^t) (Kingma and Ba 2015). As FedAdam: Reddi et al. 2020, who leave the correction out.
#include <cmath>

#include "server/optimizer.hpp"

namespace fedmpi::server {

namespace {

class Adam : public Optimizer {
 public:
  Adam(const Options& options, std::size_t parameters) : options_(options), first_(parameters), second_(parameters) {}

  void step(std::uint64_t round, std::span<float> update, std::span<float> parameters) override {
    const double t = static_cast<double>(round);
    const float b1 = static_cast<float>(options_.beta1), b2 = static_cast<float>(options_.beta2);
    const float first_scale = static_cast<float>(*options_.lr / (1.0 - std::pow(options_.beta1, t)));
    const float second_scale = static_cast<float>(1.0 / (1.0 - std::pow(options_.beta2, t)));
    const float epsilon = static_cast<float>(options_.epsilon);
    for (std::size_t j = 0; j < update.size(); ++j) {
      first_[j] = b1 * first_[j] + (1.0F - b1) * update[j];
      second_[j] = b2 * second_[j] + (1.0F - b2) * update[j] * update[j];
      parameters[j] += first_scale * first_[j] / (std::sqrt(second_scale * second_[j]) + epsilon);
    }
  }
  std::vector<State> state() override { return {{"first_moment", &first_}, {"second_moment", &second_}}; }

 private:
  Options options_;
  Vector first_, second_;
};

}  // namespace

std::unique_ptr<Optimizer> make_adam(const Options& options, std::size_t parameters) {
  return std::make_unique<Adam>(options, parameters);
}

}  // namespace fedmpi::server
