// Individual updates: a participant keeps those of its clients until the end of the round; rank 0 receives a block of
// coordinates of all of them at a time and never holds more.
#include <algorithm>
#include <cstdint>
#include <mutex>
#include <utility>
#include <vector>

#include "aggregate/exchange.hpp"
#include "base/vector.hpp"

namespace fedmpi::aggregate {

namespace {

constexpr std::size_t kBlockBytes = std::size_t{16} << 20;  // what rank 0 holds of the updates

class GatherExchange : public Exchange {
 public:
  GatherExchange(const Layout& message, const Place& place, void (*combine)(MatrixView, std::span<float>))
      : comm_(place.comm),
        parameters_(message.size()),
        combine_(combine),
        slot_of_(place.threads),
        result_(comm_.is_root() ? message.size() : 0) {}

  void begin(std::size_t clients) override {
    // One more for each thread whose client may turn out bad.
    slots_.resize(std::max(slots_.size(), clients + slot_of_.size()));
    free_ = slots_.size();
    taken_.clear();
    taken_.reserve(clients);
    std::fill(slot_of_.begin(), slot_of_.end(), kNone);
  }
  std::span<float> room(std::size_t thread) override {
    const std::lock_guard lock(mutex_);
    std::size_t& slot = slot_of_[thread];
    if (slot == kNone) slot = --free_;
    slots_[slot].resize(parameters_);
    return slots_[slot];
  }
  void take(std::size_t thread, double, const secure::Largest&) override {
    const std::lock_guard lock(mutex_);
    taken_.push_back(std::exchange(slot_of_[thread], kNone));
  }
  std::span<float> deliver(double) override {
    const std::uint64_t mine = taken_.size();
    const std::vector<std::uint64_t> clients = comm_.gather(std::span(&mine, 1));
    std::size_t total = 0;
    for (const auto c : clients) total += c;
    std::uint64_t block = kBlockBytes / sizeof(float) / std::max<std::size_t>(1, total);
    block = std::clamp<std::uint64_t>(block, 1, parameters_);
    comm_.broadcast_struct(block);
    Vector sent(block * mine), received(block * total);
    for (std::size_t first = 0; first < parameters_; first += block) {
      const std::size_t n = std::min<std::size_t>(block, parameters_ - first);
      for (std::size_t c = 0; c < mine; ++c) std::copy_n(slots_[taken_[c]].data() + first, n, sent.data() + c * n);
      std::vector<int> counts;
      for (const auto c : clients) counts.push_back(static_cast<int>(c * n));
      comm_.gather(std::span<const float>(sent.data(), mine * n), std::span<float>(received), counts);
      if (comm_.is_root() && total > 0)
        combine_({received.data(), static_cast<Eigen::Index>(n), static_cast<Eigen::Index>(total)},
                 std::span(result_).subspan(first, n));
    }
    if (total == 0) std::fill(result_.begin(), result_.end(), 0.0F);
    return result_;
  }
  std::size_t bytes_up(std::size_t, std::size_t clients) const override {
    return clients * parameters_ * sizeof(float);
  }

 private:
  static constexpr std::size_t kNone = SIZE_MAX;

  mpi::Communicator& comm_;
  std::size_t parameters_;
  void (*combine_)(MatrixView, std::span<float>);
  std::mutex mutex_;
  std::vector<Vector> slots_;         // an update each
  std::size_t free_ = 0;              // slots before this one are free
  std::vector<std::size_t> slot_of_;  // of each thread
  std::vector<std::size_t> taken_;
  Vector result_;
};

}  // namespace

std::size_t gather_memory(const Layout& message, std::size_t threads, std::size_t clients) {
  return (clients - std::min(clients, threads)) * message.size() * sizeof(float) + kBlockBytes;
}

std::unique_ptr<Exchange> make_gather_exchange(const Layout& message, const Place& place,
                                               void (*combine)(MatrixView, std::span<float>)) {
  return std::make_unique<GatherExchange>(message, place, combine);
}

}  // namespace fedmpi::aggregate
