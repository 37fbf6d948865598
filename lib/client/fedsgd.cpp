// FedSGD: the update is one step along the gradient of all the client's examples, -η ∇F_k(w). Averaged with
// weights n_k/n over all clients this is one step of centralised gradient descent. McMahan et al. 2017.
#include <numeric>

#include "client/algorithm.hpp"

namespace fedmpi::client {

namespace {

class FedSgd : public Algorithm {
 public:
  FedSgd(const model::Model& model, const Options& options) : model_(model), options_(options) {}

  double train(const Assignment& a, Worker& worker) const override {
    worker.order.resize(a.examples.size);
    std::iota(worker.order.begin(), worker.order.end(), 0u);
    const double loss = mean_gradient(model_, a.examples, worker.order, a.global, worker.parameters, worker);
    const float lr = static_cast<float>(learning_rate(options_, a.round));
    for (float& x : worker.parameters) x *= -lr;
    return loss;
  }

 private:
  const model::Model& model_;
  Options options_;
};

}  // namespace

std::unique_ptr<Algorithm> make_fedsgd(const model::Model& model, const Options& options) {
  return std::make_unique<FedSgd>(model, options);
}

}  // namespace fedmpi::client
