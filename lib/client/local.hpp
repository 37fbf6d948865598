// The vectors of one client's training, wherever they live: on this host, or one day on a device or on several ranks.
#pragma once

#include <cstddef>
#include <cstdint>
#include <numeric>
#include <span>
#include <vector>

#include "data/dataset.hpp"
#include "model/model.hpp"

namespace fedmpi::client {

// One step of local training:
//   v ← μ v + g + λ w + ρ (w − w₀) + plus − minus;   w ← w − η v,
// where g is the mean gradient of loss and L2 penalty over the step's examples, w₀ the global model and v zero at
// first.
struct Step {
  float lr = 0.0F;                               // η
  float momentum = 0.0F;                         // μ
  float decay = 0.0F;                            // λ
  float proximal = 0.0F;                         // ρ
  std::span<const float> plus = {}, minus = {};  // as long as the model; empty: zeros

  bool plain() const { return momentum == 0 && decay == 0 && proximal == 0 && plus.empty() && minus.empty(); }
};

class Local {
 public:
  virtual ~Local() = default;

  // Begins at the global model. finish() leaves the update in `update`, as long as the model; until then the local
  // model may lie there. `steps`: how many will follow; 0 = not known.
  virtual void start(std::span<const float> global, std::span<float> update, std::size_t steps) = 0;
  // A step on the examples listed, of which there is at least one. Returns their scores before it, summed.
  virtual model::Score step(const data::ClientExamples& examples, std::span<const std::uint32_t> listed,
                            const Step& step) = 0;
  // update ← w − w₀
  virtual void finish() = 0;

  // Hints, for memory is slow: the examples that the next steps will take, and the client that may come next.
  virtual void prefetch(const data::ClientExamples&, std::span<const std::uint32_t> /*listed*/) {}
  virtual void prefetch_next(const data::ClientExamples*) {}

  // 0 … n-1, in memory that is used again for the next client.
  std::span<std::uint32_t> list(std::size_t n) {
    list_.resize(n);
    std::iota(list_.begin(), list_.end(), 0U);
    return list_;
  }

 private:
  std::vector<std::uint32_t> list_;
};

}  // namespace fedmpi::client
