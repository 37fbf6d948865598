#include "client/algorithm.hpp"

#include <algorithm>
#include <array>
#include <cmath>

#include "base/error.hpp"
#include "base/names.hpp"

namespace fedmpi::client {

namespace {

// Larger batches are worked through in blocks of so many examples: enough to keep the kernels busy, and few enough that
// they stay in the cache from the forward pass to the update.
constexpr std::size_t kBlockRows = 128;

constexpr std::array<Kind, 2> kAlgorithms = {{
    {"fedsgd", "one gradient over all the client's examples (McMahan et al. 2017)",
     "lr lr-decay stop.gradient-tolerance", make_fedsgd},
    {"fedavg", "local SGD for epochs or steps (McMahan et al. 2017)",
     "epochs steps batch lr lr-decay momentum weight-decay", make_fedavg},
}};

void require(bool holds, const char* option, const char* expected, double found) {
  if (!holds) fail(ExitCode::usage, "client.{}: expected {}, found {}", option, expected, found);
}

}  // namespace

std::span<const Kind> algorithms() { return kAlgorithms; }

std::unique_ptr<Algorithm> make(const model::Model& model, const Options& options) {
  const Kind& kind = find_by_name(kAlgorithms, options.algorithm, "client.algorithm");
  require(options.epochs >= 1, "epochs", "1 or more", static_cast<double>(options.epochs));
  require(options.steps >= 0, "steps", "0 or more", static_cast<double>(options.steps));
  require(options.batch >= 0, "batch", "0 (all) or more", static_cast<double>(options.batch));
  require(options.lr > 0 && std::isfinite(options.lr), "lr", "a positive number", options.lr);
  require(options.lr_decay > 0 && options.lr_decay <= 1, "lr-decay", "a number above 0 and up to 1", options.lr_decay);
  require(options.momentum >= 0 && options.momentum < 1, "momentum", "a number from 0 to below 1", options.momentum);
  require(options.weight_decay >= 0 && std::isfinite(options.weight_decay), "weight-decay", "0 or more",
          options.weight_decay);
  return kind.make(model, options);
}

double learning_rate(const Options& options, std::uint64_t round) {
  return options.lr * std::pow(options.lr_decay, static_cast<double>(round - 1));
}

double examples_per_round(const Options& options, double examples) {
  if (options.algorithm == "fedsgd") return examples;
  if (options.steps == 0) return examples * static_cast<double>(options.epochs);
  const double batch = options.batch == 0 ? examples : std::min(examples, static_cast<double>(options.batch));
  return batch * static_cast<double>(options.steps);
}

std::size_t block_rows(std::size_t largest_client) { return std::clamp<std::size_t>(largest_client, 1, kBlockRows); }

Steps steps_of(const Options& options, std::size_t examples) {
  const std::size_t batch = options.batch == 0 ? examples : std::min(examples, static_cast<std::size_t>(options.batch));
  if (options.steps > 0) return {static_cast<std::size_t>(options.steps), batch};
  return {(examples + batch - 1) / batch * static_cast<std::size_t>(options.epochs), batch};
}

bool steps_in_place(const Options& options, double l2, std::size_t examples, std::size_t block_rows) {
  const bool plain = options.momentum == 0 && options.weight_decay == 0 && l2 == 0;
  const Steps steps = steps_of(options, examples);
  return options.algorithm == "fedsgd" || (plain && (steps.count == 1 || steps.batch <= block_rows));
}

Worker::Worker(const model::Model& model, const data::Schema& schema, const Options& options,
               std::size_t largest_client)
    : velocity(options.momentum > 0 ? model.layout().size() : 0),
      batch(schema, block_rows(largest_client)),
      workspace(model.workspace(batch.rows)) {
  order.reserve(largest_client);
}

double add_gradient(const model::Model& model, const data::ClientExamples& examples,
                    std::span<const std::uint32_t> order, std::span<const float> parameters, float weight,
                    const Accumulator& sum, Worker& worker) {
  model::Score score;
  const std::size_t rows = worker.batch.rows;
  for (std::size_t i = 0; i < order.size(); i += rows) {
    const auto part = order.subspan(i, std::min(rows, order.size() - i));
    const data::Batch batch = examples.block->gather(examples.first, part, worker.batch);
    Accumulator block = sum;
    if (i > 0) block.from = sum.to;
    if (i + rows < order.size()) block.minus = {};  // with the last of them
    score += model.add_gradient(parameters, batch, weight, block, *worker.workspace);
  }
  return score.loss;
}

double mean_gradient(const model::Model& model, const data::ClientExamples& examples,
                     std::span<const std::uint32_t> order, std::span<const float> parameters, std::span<float> gradient,
                     Worker& worker) {
  const double n = static_cast<double>(order.size());
  const double loss =
      add_gradient(model, examples, order, parameters, static_cast<float>(1.0 / n), {gradient, {}}, worker);
  model.add_penalty_gradient(parameters, gradient);
  return loss / n;
}

}  // namespace fedmpi::client
