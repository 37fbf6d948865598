// SCAFFOLD: the server keeps a control variate c and every client one of its own, c_k, the mean gradients that they
// have seen; each local step adds c − c_k, which takes out the client's drift. Karimireddy, Kale, Mohri, Reddi, Stich
// and Suresh 2020, "SCAFFOLD: Stochastic Controlled Averaging for Federated Learning", algorithm 1 with option II:
//   y ← y − η (g_k(y) + c − c_k), K times from y = x;   c_k⁺ = c_k − c + (x − y) / (K η);
//   x ← x + η_g mean(y − x);   c ← c + |S|/N mean(c_k⁺ − c_k),
// where the means are weighted as those of the updates are, and |S|/N is the cohort's share of the weight of all
// clients (with aggregate.weights equal, the paper's). Without momentum: η K times the mean of the gradients is then
// how far the client has come.
#include "client/sgd.hpp"

namespace fedmpi::client {

namespace {

class Scaffold : public Sgd {
 public:
  using Sgd::Sgd;

  Layout down() const override { return control(); }  // c
  Layout up() const override { return control(); }    // c_k⁺ − c_k
  Layout kept() const override { return control(); }  // c_k

  Trained train(const Assignment& a, Local& local, const Reply& reply) const override {
    Step step = Sgd::step(a.round);
    step.plus = a.down;
    step.minus = a.kept;
    const Trained trained = descend(a, local, step, reply.update);
    const float inverse = 1.0F / (static_cast<float>(steps(a.examples.size).count) * step.lr);
    for (std::size_t j = 0; j < reply.update.size(); ++j) {
      reply.rest[j] = -a.down[j] - inverse * reply.update[j];
      reply.kept[j] = a.kept[j] + reply.rest[j];
    }
    return trained;
  }

  void conclude(const Message& mean, std::span<float> down, const Arrived& arrived) const override {
    const float share = static_cast<float>(arrived.share);
    for (std::size_t j = 0; j < down.size(); ++j) down[j] += share * mean.rest[j];
  }

  std::size_t vectors(std::size_t largest_client) const override {
    return steps(largest_client).count == 1 ? 0 : 1;  // its steps are never plain
  }

 private:
  Layout control() const {
    Layout layout;
    layout.add("", "control", {parameters()});
    return layout;
  }
};

}  // namespace

std::unique_ptr<Algorithm> make_scaffold(const model::Model& model, const Options& options) {
  Options plain = options;
  plain.momentum = 0.0;  // not read
  return std::make_unique<Scaffold>(model, plain);
}

}  // namespace fedmpi::client
