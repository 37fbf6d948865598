// Local training in this host's memory: the buffers of one thread that trains clients, one after another.
#pragma once

#include <cstddef>
#include <memory>
#include <span>

#include "base/vector.hpp"
#include "client/local.hpp"
#include "data/batch.hpp"
#include "model/model.hpp"

namespace fedmpi::client {

// How often a client steps in a round, and with how many examples at a time.
struct Steps {
  std::size_t count, batch;
};

class HostLocal : public Local {
 public:
  // For clients of at most `largest_client` examples. `frozen`: the model's weights that are not trained.
  HostLocal(const model::Model& model, const data::Schema& schema, std::size_t largest_client,
            std::span<const float> frozen = {});

  void start(std::span<const float> global, std::span<float> update, std::size_t steps) override;
  model::Score step(const data::ClientExamples& examples, std::span<const std::uint32_t> listed,
                    const Step& step) override;
  void finish() override;
  void prefetch(const data::ClientExamples& examples, std::span<const std::uint32_t> listed) override;
  void prefetch_next(const data::ClientExamples* client) override;

  // Examples that are worked through at once; larger batches take several such blocks.
  static std::size_t block_rows(std::size_t largest_client);
  // Vectors as long as the model that such steps need beside the one that holds the update. (No gradient is held where
  // steps are added to the model as they are computed.)
  static std::size_t vectors(const model::Model& model, const Step& step, Steps steps, std::size_t block_rows);

 private:
  model::Score add_gradient(const data::ClientExamples& examples, std::span<const std::uint32_t> listed,
                            std::span<const float> at, float weight, const Accumulator& sum);
  void move(std::span<const float> from, std::span<float> gradient, const Step& step, bool first, bool last);

  const model::Model& model_;
  std::span<const float> frozen_;
  data::BatchBuffer batch_;
  std::unique_ptr<model::Workspace> workspace_;
  Vector gradient_, velocity_;  // empty until a step needs them
  std::span<const float> global_;
  std::span<float> local_;  // the local model, and in the end the update
  std::size_t steps_ = 0, taken_ = 0;
};

}  // namespace fedmpi::client
