// What a method does in a round: what rank 0 sends beside the model, how a client trains, what it sends back and keeps,
// and what rank 0 makes of the replies.
#pragma once

#include <cstdint>
#include <memory>
#include <span>
#include <string>

#include "base/layout.hpp"
#include "client/host_local.hpp"
#include "client/local.hpp"
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
  double proximal = 0.01;     // fedprox: μ
};

double learning_rate(const Options& options, std::uint64_t round);  // round counts from 1

// Who trains, on what, and when.
struct Assignment {
  data::ClientExamples examples;     // at least one
  std::span<const float> global;     // the round's model
  std::span<const float> down = {};  // beside it: Algorithm::down()
  std::span<const float> kept =
      {};  // by this client, since the last round that counted: Algorithm::kept(); zeros at first
  std::uint64_t round = 1;
  std::uint64_t seed = 0;
};

// What travels up. The weighted mean of these is what arrives.
struct Message {
  std::span<float> update;  // as long as the model, to be added to it
  std::span<float> rest;    // beside it: Algorithm::up()
};
struct Reply : Message {
  std::span<float> kept;  // what the client keeps if the round counts
};

// What a client has trained on: scores summed over the examples as they were seen, and how many these were.
struct Trained {
  model::Score score;
  std::size_t examples = 0;
};

// Of the clients whose replies are in a mean.
struct Arrived {
  double share = 1.0;  // of the weight of all clients of the federation
};

class Algorithm {
 public:
  virtual ~Algorithm() = default;

  virtual Layout down() const { return {}; }
  virtual Layout up() const { return {}; }    // each tensor with a scale of its own in the exact sum
  virtual Layout kept() const { return {}; }  // float32

  // Fills all of the reply. A function of the assignment alone, which may be called again or for nothing: same
  // assignment, same bits.
  virtual Trained train(const Assignment& assignment, Local& local, const Reply& reply) const = 0;
  // On rank 0, from the weighted mean of the replies: renews `down`, and may change the update before the server
  // optimizer takes it. Not called where nothing arrived.
  virtual void conclude(const Message& /*mean*/, std::span<float> /*down*/, const Arrived&) const {}

  virtual Steps steps(std::size_t examples) const = 0;  // of a client that has so many
  // Vectors as long as the model that a thread holds beside what travels, for clients of at most so many examples.
  virtual std::size_t vectors(std::size_t largest_client) const = 0;
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

std::unique_ptr<Algorithm> make_fedsgd(const model::Model& model, const Options& options);
std::unique_ptr<Algorithm> make_fedavg(const model::Model& model, const Options& options);
std::unique_ptr<Algorithm> make_fedprox(const model::Model& model, const Options& options);
std::unique_ptr<Algorithm> make_scaffold(const model::Model& model, const Options& options);

}  // namespace fedmpi::client
