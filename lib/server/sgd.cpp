// The plain step: w ← w + η Δ. With η = 1 the model becomes the clients' average (McMahan et al. 2017).
#include "server/optimizer.hpp"

namespace fedmpi::server {

namespace {

class Sgd : public Optimizer {
 public:
  explicit Sgd(const Options& options) : lr_(static_cast<float>(*options.lr)) {}
  void step(std::uint64_t, std::span<float> update, std::span<float> parameters) override {
    for (std::size_t j = 0; j < update.size(); ++j) parameters[j] += lr_ * update[j];
  }

 private:
  float lr_;
};

}  // namespace

std::unique_ptr<Optimizer> make_sgd(const Options& options, std::size_t) { return std::make_unique<Sgd>(options); }

}  // namespace fedmpi::server
