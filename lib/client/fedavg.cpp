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
    worker.order.resize(a.examples.size);
    std::iota(worker.order.begin(), worker.order.end(), 0u);

    const std::size_t n = a.examples.size;
    const auto [steps, batch] = steps_of(options_, n);
    const std::size_t per_epoch = (n + batch - 1) / batch;
    const float lr = static_cast<float>(learning_rate(options_, a.round));
    Stream stream(a.seed, Purpose::order, a.round, a.examples.id);
    const bool in_place = steps_in_place(options_, model_.l2(), n, worker.batch.rows);

    if (!in_place) std::copy(a.global.begin(), a.global.end(), worker.parameters.begin());
    std::fill(worker.velocity.begin(), worker.velocity.end(), 0.0F);
    double loss = 0.0;
    std::size_t seen = 0;
    for (std::size_t step = 0; step < steps; ++step) {
      const std::size_t begin = step % per_epoch * batch;
      if (begin == 0) stream.shuffle(std::span(worker.order));
      const auto part = std::span<const std::uint32_t>(worker.order).subspan(begin, std::min(batch, n - begin));
      // This step's examples and, while it computes, those of the next.
      const auto soon = std::span<const std::uint32_t>(worker.order).subspan(begin, std::min(2 * batch, n - begin));
      a.examples.block->prefetch(a.examples.first, soon);
      loss += in_place ? descend_in_place(a, part, lr, step == 0, step + 1 == steps, worker)
                       : descend(a.examples, part, lr, worker);
      seen += part.size();
    }
    if (!in_place)
      for (std::size_t j = 0; j < worker.parameters.size(); ++j) worker.parameters[j] -= a.global[j];
    return loss / static_cast<double>(seen);
  }

 private:
  // One step: w ← w - η g, from the global model if it is the first, and less the global model if it is the last: what
  // the whole update is then. Returns the summed loss of its examples.
  double descend_in_place(const Assignment& a, std::span<const std::uint32_t> part, float lr, bool first, bool last,
                          Worker& worker) const {
    const std::span<const float> from = first ? a.global : worker.parameters;
    Accumulator sum{worker.parameters, from, last ? a.global : std::span<const float>()};
    if (first && last) sum.from = sum.minus = {};
    return add_gradient(model_, a.examples, part, from, -lr / static_cast<float>(part.size()), sum, worker);
  }

  // The same with all that may be asked for: v ← μ v + (g + λ w);  w ← w - η v.
  double descend(const data::ClientExamples& examples, std::span<const std::uint32_t> part, float lr,
                 Worker& worker) const {
    const double n = static_cast<double>(part.size());
    const std::size_t d = worker.parameters.size();
    worker.gradient.resize(d);
    const double loss = n * mean_gradient(model_, examples, part, worker.parameters, worker.gradient, worker);
    const float decay = static_cast<float>(options_.weight_decay);
    const float momentum = static_cast<float>(options_.momentum);
    float* w = worker.parameters.data();
    const float* g = worker.gradient.data();
    float* v = worker.velocity.data();
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
