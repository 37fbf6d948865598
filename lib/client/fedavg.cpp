// FedAvg: some epochs or steps of minibatch SGD from the global model; the update is where they lead. McMahan
// et al. 2017, "Communication-Efficient Learning of Deep Networks from Decentralized Data", algorithm 1.
#include <algorithm>
#include <numeric>

#include "base/random.hpp"
#include "client/algorithm.hpp"

namespace fedmpi::client {

namespace {

class FedAvg : public Algorithm {
 public:
  FedAvg(const model::Model& model, const Options& options) : model_(model), options_(options) {}

  double train(const Assignment& a, Worker& worker) const override {
    std::fill(worker.velocity.begin(), worker.velocity.end(), 0.0F);
    worker.order.resize(a.examples.size);
    std::iota(worker.order.begin(), worker.order.end(), 0u);

    const std::size_t n = a.examples.size;
    const std::size_t batch = options_.batch == 0 ? n : std::min(n, static_cast<std::size_t>(options_.batch));
    const std::size_t per_epoch = (n + batch - 1) / batch;
    const std::size_t steps = options_.steps > 0 ? static_cast<std::size_t>(options_.steps)
                                                 : per_epoch * static_cast<std::size_t>(options_.epochs);
    const float lr = static_cast<float>(learning_rate(options_, a.round));
    const bool single = steps == 1 && plain(batch, worker);  // the update is its gradient, with no model between them
    if (single)
      std::fill(worker.parameters.begin(), worker.parameters.end(), 0.0F);
    else
      std::copy(a.global.begin(), a.global.end(), worker.parameters.begin());
    Stream stream(a.seed, Purpose::order, a.round, a.examples.id);
    double loss = 0.0;
    std::size_t seen = 0;
    for (std::size_t step = 0; step < steps; ++step) {
      const std::size_t begin = step % per_epoch * batch;
      if (begin == 0) stream.shuffle(std::span(worker.order));
      const auto part = std::span<const std::uint32_t>(worker.order).subspan(begin, std::min(batch, n - begin));
      // This step's examples and, while it computes, those of the next.
      const auto soon = std::span<const std::uint32_t>(worker.order).subspan(begin, std::min(2 * batch, n - begin));
      a.examples.block->prefetch(a.examples.first, soon);
      loss += descend(a.examples, part, single ? a.global : worker.parameters, lr, worker);
      seen += part.size();
    }
    if (!single)
      for (std::size_t j = 0; j < worker.parameters.size(); ++j) worker.parameters[j] -= a.global[j];
    return loss / static_cast<double>(seen);
  }

 private:
  // Whether a step on so many examples is the gradient of their loss and no more, made in one go.
  bool plain(std::size_t batch, const Worker& worker) const {
    return options_.momentum == 0 && options_.weight_decay == 0 && model_.l2() == 0 && batch <= worker.batch.rows;
  }

  // One step: v ← μ v + (g + λ w);  w ← w - η v, with the gradient taken `at` w, or elsewhere if it is plain. Returns
  // the summed loss of its examples.
  double descend(const data::ClientExamples& examples, std::span<const std::uint32_t> part, std::span<const float> at,
                 float lr, Worker& worker) const {
    const float n = static_cast<float>(part.size());
    if (plain(part.size(), worker))  // the gradient needs no place of its own
      return add_gradient(model_, examples, part, at, -lr / n, worker.parameters, worker);
    const double loss = double{n} * mean_gradient(model_, examples, part, at, worker);
    const float decay = static_cast<float>(options_.weight_decay);
    const float momentum = static_cast<float>(options_.momentum);
    float* w = worker.parameters.data();
    const float* g = worker.gradient.data();
    float* v = worker.velocity.data();
    const std::size_t d = worker.parameters.size();
    if (worker.velocity.empty()) {
      for (std::size_t j = 0; j < d; ++j) w[j] -= lr * (g[j] + decay * w[j]);
    } else {
      for (std::size_t j = 0; j < d; ++j) {
        v[j] = momentum * v[j] + (g[j] + decay * w[j]);
        w[j] -= lr * v[j];
      }
    }
    return loss;
  }

  const model::Model& model_;
  Options options_;
};

}  // namespace

std::unique_ptr<Algorithm> make_fedavg(const model::Model& model, const Options& options) {
  return std::make_unique<FedAvg>(model, options);
}

}  // namespace fedmpi::client
