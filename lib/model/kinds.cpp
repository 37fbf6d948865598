// The table of models. The regressions are networks without hidden layers, each with the loss that names it.
#include <array>
#include <cmath>

#include "base/error.hpp"
#include "base/names.hpp"
#include "model/kernels/losses.hpp"
#include "model/mlp.hpp"
#include "model/model.hpp"

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

std::size_t outputs_of(const Schema& schema) {
  return schema.task == Task::classification ? schema.classes : schema.targets;
}

// A network without hidden layers whose loss is fixed by the kind.
std::unique_ptr<Model> regression(const Options& options, const Schema& schema, const char* loss, std::size_t outputs) {
  if (options.loss != "auto" && options.loss != loss)
    fail(ExitCode::usage, "model.loss: {} regression is defined by the loss {}, not {}", options.kind, loss,
         options.loss);
  return std::make_unique<Mlp>(std::vector<std::size_t>{schema.features(), outputs},
                               find_by_name(kernels::activations(), "relu", "model.activation"),
                               find_by_name(kernels::losses(), loss, "model.loss"), options.l2);
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
  std::vector<std::size_t> widths = {schema.features()};
  widths.insert(widths.end(), options.hidden.begin(), options.hidden.end());
  widths.push_back(outputs_of(schema));
  return std::make_unique<Mlp>(std::move(widths),
                               find_by_name(kernels::activations(), options.activation, "model.activation"),
                               loss_for(options, schema), options.l2);
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
  return find_by_name(kinds(), options.kind, "model.kind").make(options, schema);
}

}  // namespace fedmpi::model
