#include "client/host_local.hpp"

#include <algorithm>

namespace fedmpi::client {

namespace {

// Enough examples to keep the kernels busy, and few enough that they stay in the cache from the forward pass to the
// update.
constexpr std::size_t kBlockRows = 128;

constexpr std::size_t kTile = 2048;  // floats that stay in the first cache from the gradient to the model

// Whether a step may be added to the model as it is computed, block by block.
bool in_place(const model::Model& model, const Step& step, std::size_t batch, std::size_t block_rows) {
  return step.plain() && model.l2() == 0 && model.in_place() && batch <= block_rows;
}

}  // namespace

HostLocal::HostLocal(const model::Model& model, const data::Schema& schema, std::size_t largest_client,
                     std::span<const float> frozen)
    : model_(model),
      frozen_(frozen),
      batch_(schema, block_rows(largest_client)),
      workspace_(model.workspace(batch_.rows)) {
  list(largest_client);
}

std::size_t HostLocal::block_rows(std::size_t largest_client) {
  return std::clamp<std::size_t>(largest_client, 1, kBlockRows);
}

std::size_t HostLocal::vectors(const model::Model& model, const Step& step, Steps steps, std::size_t block_rows) {
  if (steps.count == 1) return 0;
  return (in_place(model, step, steps.batch, block_rows) ? 0 : 1) + (step.momentum > 0 ? 1 : 0);
}

void HostLocal::start(std::span<const float> global, std::span<float> update, std::size_t steps) {
  global_ = global;
  local_ = update;
  steps_ = steps;
  taken_ = 0;
}

// The first step begins at the global model, and the last leaves the update: no vector is copied for that.
model::Score HostLocal::step(const data::ClientExamples& examples, std::span<const std::uint32_t> listed,
                             const Step& step) {
  const bool first = taken_ == 0, last = ++taken_ == steps_;
  const std::span<const float> from = first ? global_ : local_;
  const float n = static_cast<float>(listed.size());
  if (!(first && last) && in_place(model_, step, listed.size(), batch_.rows))
    return add_gradient(examples, listed, from, -step.lr / n,
                        {local_, from, last ? global_ : std::span<const float>()});
  // A single step is the update itself: nothing is rounded to the model's size, and the gradient needs no other place.
  if (!(first && last)) gradient_.resize(local_.size());
  const std::span<float> gradient = first && last ? local_ : std::span<float>(gradient_);
  const model::Score score = add_gradient(examples, listed, from,
                                          static_cast<float>(1.0 / static_cast<double>(listed.size())), {gradient, {}});
  model_.add_penalty_gradient(from, gradient);
  move(from, gradient, step, first, last);
  return score;
}

void HostLocal::finish() {
  if (taken_ == 0) std::fill(local_.begin(), local_.end(), 0.0F);
  if (taken_ == 0 || taken_ == steps_) return;
  for (std::size_t j = 0; j < local_.size(); ++j) local_[j] -= global_[j];
}

// From a model and the gradient there, which is used up, to the model after the step, or after the last to the update.
void HostLocal::move(std::span<const float> from, std::span<float> gradient, const Step& step, bool first, bool last) {
  if (step.momentum > 0 && !(first && last)) velocity_.resize(local_.size());
  for (std::size_t begin = 0; begin < local_.size(); begin += kTile) {
    const std::size_t n = std::min(kTile, local_.size() - begin);
    const float *w = from.data() + begin, *w0 = global_.data() + begin;
    float *v = gradient.data() + begin, *to = local_.data() + begin;
    if (step.decay != 0)
      for (std::size_t j = 0; j < n; ++j) v[j] += step.decay * w[j];
    if (step.proximal != 0 && !first)
      for (std::size_t j = 0; j < n; ++j) v[j] += step.proximal * (w[j] - w0[j]);
    if (!step.plus.empty())
      for (std::size_t j = 0; j < n; ++j) v[j] += step.plus[begin + j];
    if (!step.minus.empty())
      for (std::size_t j = 0; j < n; ++j) v[j] -= step.minus[begin + j];
    if (step.momentum > 0 && !(first && last)) {
      float* velocity = velocity_.data() + begin;
      if (first)
        std::copy_n(v, n, velocity);
      else
        for (std::size_t j = 0; j < n; ++j) velocity[j] = step.momentum * velocity[j] + v[j];
      v = velocity;
    }
    if (first && last)
      for (std::size_t j = 0; j < n; ++j) to[j] = v[j] * -step.lr;
    else if (last)
      for (std::size_t j = 0; j < n; ++j) to[j] = (w[j] - step.lr * v[j]) - w0[j];
    else
      for (std::size_t j = 0; j < n; ++j) to[j] = w[j] - step.lr * v[j];
  }
}

// Adds weight · Σ ∇ loss over the examples listed, without the penalty, to `sum`, a block of them at a time. With one
// block `sum` may lie in `at`: see model::Model::add_gradient.
model::Score HostLocal::add_gradient(const data::ClientExamples& examples, std::span<const std::uint32_t> listed,
                                     std::span<const float> at, float weight, const Accumulator& sum) {
  model::Score score;
  const std::size_t rows = batch_.rows;
  for (std::size_t i = 0; i < listed.size(); i += rows) {
    const auto part = listed.subspan(i, std::min(rows, listed.size() - i));
    const data::Batch batch = examples.block->gather(examples.first, part, batch_);
    Accumulator block = sum;
    if (i > 0) block.from = sum.to;
    if (i + rows < listed.size()) block.minus = {};  // with the last of them
    score += model_.add_gradient({at, frozen_}, batch, weight, block, *workspace_);
  }
  return score;
}

void HostLocal::prefetch(const data::ClientExamples& examples, std::span<const std::uint32_t> listed) {
  examples.block->prefetch(examples.first, listed);
}

void HostLocal::prefetch_next(const data::ClientExamples* client) {
  batch_.to_prefetch = client != nullptr ? client->to_prefetch() : std::span<const std::byte>();
}

}  // namespace fedmpi::client
