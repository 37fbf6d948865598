// FedSGD: the update is one step along the gradient of all the client's examples, -η ∇F_k(w). Averaged with
// weights n_k/n over all clients this is one step of centralised gradient descent. McMahan et al. 2017.
#include "client/algorithm.hpp"

namespace fedmpi::client {

namespace {

class FedSgd : public Algorithm {
 public:
  explicit FedSgd(const Options& options) : options_(options) {}

  Trained train(const Assignment& a, Local& local, const Reply& reply) const override {
    local.start(a.global, reply.update, 1);
    const model::Score score = local.step(a.examples, local.list(a.examples.size),
                                          {.lr = static_cast<float>(learning_rate(options_, a.round))});
    local.finish();
    return {score, a.examples.size};
  }
  Steps steps(std::size_t examples) const override { return {1, examples}; }
  std::size_t vectors(std::size_t) const override { return 0; }

 private:
  Options options_;
};

}  // namespace

std::unique_ptr<Algorithm> make_fedsgd(const model::Model&, const Options& options) {
  return std::make_unique<FedSgd>(options);
}

}  // namespace fedmpi::client
