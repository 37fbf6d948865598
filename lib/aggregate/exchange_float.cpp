// The plain sum: MPI_Reduce on float32, a block at a time.
#include <algorithm>
#include <atomic>
#include <vector>

#include "aggregate/block_locks.hpp"
#include "aggregate/exchange.hpp"
#include "base/vector.hpp"

namespace fedmpi::aggregate {

namespace {

constexpr std::size_t kStage = std::size_t{1} << 17;  // coordinates that travel in one call: half a mebibyte, in cache

class FloatExchange : public Exchange {
 public:
  FloatExchange(std::size_t parameters, const Place& place)
      : comm_(place.comm), rooms_(place.threads, Vector(parameters)), sum_(parameters), blocks_(parameters) {}

  void begin(std::size_t) override {
    blocks_.reset();
    empty_ = true;
  }
  std::span<float> room(std::size_t thread) override { return rooms_[thread]; }
  void take(std::size_t thread, double weight, float) override {
    const float w = static_cast<float>(weight);
    const Vector& update = rooms_[thread];
    blocks_.for_each([&](std::size_t first, std::size_t n, bool begun) {
      if (begun)
        for (std::size_t j = first; j < first + n; ++j) sum_[j] += w * update[j];
      else
        for (std::size_t j = first; j < first + n; ++j) sum_[j] = w * update[j];
    });
    empty_ = false;
  }
  std::span<float> deliver(double correction) override {
    const float factor = static_cast<float>(correction);
    for (std::size_t first = 0; first < sum_.size(); first += kStage) {
      const std::span<float> stage = std::span(sum_).subspan(first, std::min(kStage, sum_.size() - first));
      if (empty_) std::fill(stage.begin(), stage.end(), 0.0F);
      comm_.reduce_sum(stage);
      if (comm_.is_root())
        for (float& x : stage) x *= factor;
    }
    return comm_.is_root() ? std::span(sum_) : std::span<float>();
  }
  std::size_t bytes_up(std::size_t participants, std::size_t) const override {
    return participants * sum_.size() * sizeof(float);
  }

 private:
  mpi::Communicator& comm_;
  std::vector<Vector> rooms_;
  Vector sum_;
  BlockLocks blocks_;
  std::atomic<bool> empty_{true};
};

}  // namespace

std::size_t float_memory(std::size_t parameters) { return parameters * sizeof(float); }

std::unique_ptr<Exchange> make_float_exchange(std::size_t parameters, const Place& place) {
  return std::make_unique<FloatExchange>(parameters, place);
}

}  // namespace fedmpi::aggregate
