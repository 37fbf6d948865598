// FedProx: FedAvg whose clients minimise F_k(w) + μ/2 ‖w − w₀‖², so that those whose data differ do not drift far from
// the global model w₀. Li, Sahu, Zaheer, Sanjabi, Talwalkar and Smith 2020, "Federated Optimization in Heterogeneous
// Networks", algorithm 2; with μ = 0 it is FedAvg.
#include "client/sgd.hpp"

namespace fedmpi::client {

namespace {

class FedProx : public Sgd {
 public:
  using Sgd::Sgd;

 private:
  Step step(std::uint64_t round) const override {
    Step step = Sgd::step(round);
    step.proximal = static_cast<float>(options().proximal);
    return step;
  }
};

}  // namespace

std::unique_ptr<Algorithm> make_fedprox(const model::Model& model, const Options& options) {
  return std::make_unique<FedProx>(model, options);
}

}  // namespace fedmpi::client
