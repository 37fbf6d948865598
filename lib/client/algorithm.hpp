// What a client does in a round: from the global model and its own examples to an update.
#pragma once

#include <cstdint>
#include <memory>
#include <span>
#include <string>
#include <vector>

#include "base/vector.hpp"
#include "data/dataset.hpp"
#include "model/model.hpp"

namespace fedmpi::client {

struct Options {
  std::string algorithm = "fedavg";
  std::int64_t epochs = 1;    // passes over the client's examples
  std::int64_t steps = 0;     // if > 0, so many steps instead of epochs
  std::int64_t batch = 10;    // examples per step; 0 = all
  double lr = 0.1;            // η
  double lr_decay = 1.0;      // η of round r is lr · lr_decay^(r-1)
  double momentum = 0.0;      // of the local steps; starts at zero in every round
  double weight_decay = 0.0;  // added to the gradient as weight_decay · parameters
};

double learning_rate(const Options& options, std::uint64_t round);  // round counts from 1
// How many examples a client that has so many works through in a round, counting each pass.
double examples_per_round(const Options& options, double examples);

// The memory of one thread that trains clients, one after another; allocated once.
struct Worker {
  // For clients of at most `largest_client` examples.
  Worker(const model::Model& model, const data::Schema& schema, const Options& options, std::size_t largest_client);

  std::span<float> parameters;       // the caller's: the local model; after training, the update
  Vector gradient;                   // empty until a step needs it beside the model
  Vector velocity;                   // empty without momentum
  std::vector<std::uint32_t> order;  // of the client's examples
  data::BatchBuffer batch;
  std::unique_ptr<model::Workspace> workspace;
};

// Who trains, on what, and when.
struct Assignment {
  data::ClientExamples examples;  // at least one
  std::span<const float> global;  // the round's parameters
  std::uint64_t round = 1;
  std::uint64_t seed = 0;
};

class Algorithm {
 public:
  virtual ~Algorithm() = default;
  // Leaves the update, to be added to the global parameters, in worker.parameters. Returns the mean training
  // loss over the examples as they were seen. A function of the assignment alone: same assignment, same bits.
  virtual double train(const Assignment& assignment, Worker& worker) const = 0;
};

// One row and one file for each algorithm: see lib/README.md.
struct Kind {
  const char* name;
  const char* summary;
  const char* reads;  // options: see Choice in base/options.hpp
  std::unique_ptr<Algorithm> (*make)(const model::Model& model, const Options& options);
};
std::span<const Kind> algorithms();

std::unique_ptr<Algorithm> make(const model::Model& model, const Options& options);  // Error(usage)

// Examples that a Worker's batch buffer holds at most.
std::size_t block_rows(std::size_t largest_client);

// How often a client of so many examples steps in a round, and with how many examples at a time.
struct Steps {
  std::size_t count, batch;
};
Steps steps_of(const Options& options, std::size_t examples);
// Whether these steps are added to the model as they are computed, so that a gradient needs no place of its own: plain
// ones are, unless a batch takes several blocks, of which each needs the parameters before the step. What holds for the
// largest client holds for all.
bool steps_in_place(const Options& options, double l2, std::size_t examples, std::size_t block_rows);

// Puts the mean gradient, over the examples listed in `order`, of loss and penalty at `parameters` into `gradient`;
// returns the mean loss. Works through them in blocks of the worker's batch buffer.
double mean_gradient(const model::Model& model, const data::ClientExamples& examples,
                     std::span<const std::uint32_t> order, std::span<const float> parameters, std::span<float> gradient,
                     Worker& worker);

// Adds weight · Σ ∇ loss over those examples, without the penalty, to `sum`; returns the summed loss. With one block
// of examples `sum` may lie in `parameters` itself: see model::Model::add_gradient.
double add_gradient(const model::Model& model, const data::ClientExamples& examples,
                    std::span<const std::uint32_t> order, std::span<const float> parameters, float weight,
                    const Accumulator& sum, Worker& worker);

std::unique_ptr<Algorithm> make_fedsgd(const model::Model& model, const Options& options);
std::unique_ptr<Algorithm> make_fedavg(const model::Model& model, const Options& options);

}  // namespace fedmpi::client
