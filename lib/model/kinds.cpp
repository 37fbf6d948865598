// The table of models. The regressions are networks without hidden layers, each with the loss that names it.
#include <fmt/format.h>

#include <array>
#include <cmath>

#include "base/error.hpp"
#include "base/names.hpp"
#include "model/kernels/losses.hpp"
#include "model/layers/activation.hpp"
#include "model/layers/dense.hpp"
#include "model/network.hpp"

namespace fedmpi::model {

namespace {

using data::Schema;
using data::Task;

const kernels::Loss& loss_for(const Options& options, const Schema& schema) {
  const bool classes = schema.task == Task::classification;
  const std::string name = options.loss != "auto" ? options.loss : classes ? "cross-entropy" : "squared";
  const auto& loss = find_by_name(kernels::losses(), name, "model.loss");
  if (loss.needs_classes && !classes)
    fail(ExitCode::usage, "model.loss: {} needs classes, and the shards hold a regression task", name);
  return loss;
}

constexpr double kConvex = 0.0;  // the gain of a layer that is the whole model: a convex problem starts at 0

std::size_t outputs_of(const Schema& schema) {
  return schema.task == Task::classification ? schema.classes : schema.targets;
}

// A network without hidden layers whose loss is fixed by the kind.
std::unique_ptr<Model> regression(const Options& options, const Schema& schema, const char* loss, std::size_t outputs) {
  if (options.loss != "auto" && options.loss != loss)
    fail(ExitCode::usage, "model.loss: {} regression is defined by the loss {}, not {}", options.kind, loss,
         options.loss);
  auto network =
      std::make_unique<Network>(options, schema.feature_shape, find_by_name(kernels::losses(), loss, "model.loss"));
  network->add<layers::Dense>("dense_1", outputs, kConvex);
  return network;
}

std::unique_ptr<Model> make_linear(const Options& options, const Schema& schema) {
  return regression(options, schema, "squared", outputs_of(schema));
}

std::unique_ptr<Model> make_logistic(const Options& options, const Schema& schema) {
  if (schema.task != Task::classification || schema.classes != 2)
    fail(ExitCode::usage, "model.kind: logistic regression needs two classes, and the shards hold {}",
         schema.task == Task::classification ? std::to_string(schema.classes) : "a regression task");
  return regression(options, schema, "cross-entropy", 1);
}

std::unique_ptr<Model> make_softmax(const Options& options, const Schema& schema) {
  if (schema.task != Task::classification)
    fail(ExitCode::usage, "model.kind: softmax regression needs classes, and the shards hold a regression task");
  return regression(options, schema, "cross-entropy", schema.classes);
}

std::unique_ptr<Model> make_mlp(const Options& options, const Schema& schema) {
  const auto& activation = find_by_name(kernels::activations(), options.activation, "model.activation");
  auto network = std::make_unique<Network>(options, schema.feature_shape, loss_for(options, schema));
  for (std::size_t l = 0; l < options.hidden.size(); ++l) {
    network->add<layers::Dense>(fmt::format("dense_{}", l + 1), options.hidden[l], double{activation.gain});
    network->add<layers::Activation>(activation);
  }
  network->add<layers::Dense>(fmt::format("dense_{}", options.hidden.size() + 1), outputs_of(schema),
                              options.hidden.empty() ? kConvex : 1.0);
  return network;
}

constexpr std::array<Kind, 4> kKinds = {{
    {"linear", "linear regression, squared error", "loss l2", make_linear},
    {"logistic", "logistic regression for two classes", "loss l2", make_logistic},
    {"softmax", "softmax regression", "loss l2", make_softmax},
    {"mlp", "multi-layer perceptron", "hidden activation loss l2", make_mlp},
}};

}  // namespace

std::span<const Kind> kinds() { return kKinds; }

std::unique_ptr<Model> make(const Options& options, const Schema& schema) {
  if (!(options.l2 >= 0.0 && std::isfinite(options.l2)))
    fail(ExitCode::usage, "model.l2: expected 0 or more, found {}", options.l2);
  for (const std::size_t width : options.hidden)
    if (width == 0) fail(ExitCode::usage, "model.hidden: expected widths of 1 or more, found 0");
  auto model = find_by_name(kinds(), options.kind, "model.kind").make(options, schema);
  model->check_freeze();
  return model;
}

}  // namespace fedmpi::model
