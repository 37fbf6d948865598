#include "client/sgd.hpp"

#include <algorithm>

#include "base/random.hpp"

namespace fedmpi::client {

Steps Sgd::steps(std::size_t examples) const {
  const std::size_t batch =
      options_.batch == 0 ? examples : std::min(examples, static_cast<std::size_t>(options_.batch));
  if (options_.steps > 0) return {static_cast<std::size_t>(options_.steps), batch};
  return {(examples + batch - 1) / batch * static_cast<std::size_t>(options_.epochs), batch};
}

std::size_t Sgd::vectors(std::size_t largest_client) const {
  return HostLocal::vectors(model_, step(1), steps(largest_client), HostLocal::block_rows(largest_client));
}

Step Sgd::step(std::uint64_t round) const {
  return {.lr = static_cast<float>(learning_rate(options_, round)),
          .momentum = static_cast<float>(options_.momentum),
          .decay = static_cast<float>(options_.weight_decay)};
}

Trained Sgd::descend(const Assignment& a, Local& local, const Step& step, std::span<float> update) const {
  const std::size_t n = a.examples.size;
  const auto [count, batch] = steps(n);
  const std::size_t per_epoch = (n + batch - 1) / batch;
  const std::span<std::uint32_t> order = local.list(n);
  Stream stream(a.seed, Purpose::order, a.round, a.examples.id);
  Trained trained;
  local.start(a.global, update, count);
  for (std::size_t i = 0; i < count; ++i) {
    const std::size_t begin = i % per_epoch * batch;
    if (begin == 0) stream.shuffle(order);
    // This step's examples and, while it computes, those of the next.
    local.prefetch(a.examples, order.subspan(begin, std::min(2 * batch, n - begin)));
    const auto listed = order.subspan(begin, std::min(batch, n - begin));
    trained.score += local.step(a.examples, listed, step);
    trained.examples += listed.size();
  }
  local.finish();
  return trained;
}

}  // namespace fedmpi::client
