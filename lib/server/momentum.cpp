// Server momentum: v ← β v + Δ, w ← w + η v. Hsu, Qi and Brown 2019, "Measuring the Effects of Non-Identical
// Data Distribution for Federated Visual Classification" (FedAvgM).
#include "server/optimizer.hpp"

namespace fedmpi::server {

namespace {

class Momentum : public Optimizer {
 public:
  Momentum(const Options& options, std::size_t parameters)
      : lr_(static_cast<float>(*options.lr)), beta_(static_cast<float>(options.momentum)), velocity_(parameters) {}

  void step(std::uint64_t, std::span<float> update, std::span<float> parameters) override {
    for (std::size_t j = 0; j < update.size(); ++j) {
      velocity_[j] = beta_ * velocity_[j] + update[j];
      parameters[j] += lr_ * velocity_[j];
    }
  }
  std::vector<State> state() override { return {{"velocity", &velocity_}}; }

 private:
  float lr_, beta_;
  Vector velocity_;
};

}  // namespace

std::unique_ptr<Optimizer> make_momentum(const Options& options, std::size_t parameters) {
  return std::make_unique<Momentum>(options, parameters);
}

}  // namespace fedmpi::server
