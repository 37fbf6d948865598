// Minibatch SGD from the global model, which most methods share: they differ in the terms of a step and in what they
// make of its end.
#pragma once

#include <span>

#include "client/algorithm.hpp"

namespace fedmpi::client {

class Sgd : public Algorithm {
 public:
  Sgd(const model::Model& model, const Options& options) : model_(model), options_(options) {}

  Trained train(const Assignment& assignment, Local& local, const Reply& reply) const override {
    return descend(assignment, local, step(assignment.round), reply.update);
  }
  Steps steps(std::size_t examples) const override;
  std::size_t vectors(std::size_t largest_client) const override;

 protected:
  // A step of that round as the options say; a method adds its terms.
  virtual Step step(std::uint64_t round) const;
  // Trains for the client's epochs or steps, each on the next `batch` examples of an order that is drawn anew for every
  // epoch, and leaves the update.
  Trained descend(const Assignment& assignment, Local& local, const Step& step, std::span<float> update) const;

  const Options& options() const { return options_; }
  std::size_t parameters() const { return model_.layout().size(); }

 private:
  const model::Model& model_;
  Options options_;
};

}  // namespace fedmpi::client
