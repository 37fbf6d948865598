#include "aggregate/exchange.hpp"

#include <algorithm>
#include <deque>
#include <mutex>
#include <vector>

#include "base/error.hpp"
#include "base/vector.hpp"
#include "secure/ring.hpp"

namespace fedmpi::aggregate {

namespace {

// A vector to which threads add, one lock for each block of it, so that they rarely meet.
template <class T>
class SharedSum {
 public:
  explicit SharedSum(std::size_t size) : values_(size), locks_((size + kBlock - 1) / kBlock) {}

  void clear() { std::fill(values_.begin(), values_.end(), T{}); }
  std::span<T> values() { return values_; }
  std::size_t bytes() const { return values_.size() * sizeof(T); }

  // Calls add(first, block) for each block of the vector while that block is locked.
  template <class Add>
  void add(Add add) {
    for (std::size_t b = 0; b < locks_.size(); ++b) {
      const std::size_t first = b * kBlock;
      const std::lock_guard lock(locks_[b]);
      add(first, values().subspan(first, std::min(kBlock, values_.size() - first)));
    }
  }

 private:
  static constexpr std::size_t kBlock = std::size_t{1} << 14;
  AlignedVector<T> values_;
  std::deque<std::mutex> locks_;
};

// The exact sum: fixed point, MPI_Reduce on int64.
class ExactSum : public Exchange {
 public:
  explicit ExactSum(std::size_t parameters) : sum_(parameters) {}

  void begin(std::size_t, int exponent) override {
    exponent_ = exponent;
    sum_.clear();
  }
  bool fits(float largest, int exponent) const override { return secure::fits(largest, exponent); }
  bool overflows(float largest, int exponent) const override { return secure::overflows(largest, exponent); }
  void add(std::span<const float> update, double weight) override {
    sum_.add([&](std::size_t first, std::span<std::int64_t> block) {
      secure::add_encoded(update.subspan(first, block.size()), weight, exponent_, block);
    });
  }
  void deliver(mpi::Communicator& comm, double correction, std::span<float> result) override {
    comm.reduce_sum(sum_.values());
    if (comm.is_root()) secure::decode(sum_.values(), correction, exponent_, result);
  }
  std::size_t bytes_up(std::size_t participants, std::size_t) const override { return participants * sum_.bytes(); }
  std::size_t memory(std::size_t) const override { return sum_.bytes(); }

 private:
  SharedSum<std::int64_t> sum_;
  int exponent_ = 0;
};

// The plain sum: MPI_Reduce on float32.
class FloatSum : public Exchange {
 public:
  explicit FloatSum(std::size_t parameters) : sum_(parameters) {}

  void begin(std::size_t, int) override { sum_.clear(); }
  void add(std::span<const float> update, double weight) override {
    const float w = static_cast<float>(weight);
    sum_.add([&](std::size_t first, std::span<float> block) {
      for (std::size_t j = 0; j < block.size(); ++j) block[j] += w * update[first + j];
    });
  }
  void deliver(mpi::Communicator& comm, double correction, std::span<float> result) override {
    comm.reduce_sum(sum_.values());
    if (!comm.is_root()) return;
    const float factor = static_cast<float>(correction);
    for (std::size_t j = 0; j < result.size(); ++j) result[j] = factor * sum_.values()[j];
  }
  std::size_t bytes_up(std::size_t participants, std::size_t) const override { return participants * sum_.bytes(); }
  std::size_t memory(std::size_t) const override { return sum_.bytes(); }

 private:
  SharedSum<float> sum_;
};

// Individual updates: a participant keeps those of its clients until the end of the round; rank 0 receives a
// block of coordinates of all of them at a time and never holds more.
class Gather : public Exchange {
 public:
  Gather(std::size_t parameters, void (*combine)(MatrixView, std::span<float>))
      : parameters_(parameters), combine_(combine) {}

  void begin(std::size_t clients, int) override {
    updates_.resize(std::max(updates_.size(), clients * parameters_));
    clients_ = 0;
  }
  void add(std::span<const float> update, double) override {
    std::unique_lock lock(mutex_);
    const std::size_t slot = clients_++;
    lock.unlock();
    std::copy(update.begin(), update.end(), updates_.begin() + static_cast<std::ptrdiff_t>(slot * parameters_));
  }
  void deliver(mpi::Communicator& comm, double, std::span<float> result) override {
    const std::uint64_t mine = clients_;
    const std::vector<std::uint64_t> clients = comm.gather(std::span(&mine, 1));
    std::size_t total = 0;
    for (const auto c : clients) total += c;
    std::uint64_t block = kBlockBytes / sizeof(float) / std::max<std::size_t>(1, total);
    block = std::clamp<std::uint64_t>(block, 1, parameters_);
    comm.broadcast_struct(block);
    Vector sent(block * clients_), received(block * total);
    for (std::size_t first = 0; first < parameters_; first += block) {
      const std::size_t n = std::min<std::size_t>(block, parameters_ - first);
      for (std::size_t c = 0; c < clients_; ++c)
        std::copy_n(updates_.data() + c * parameters_ + first, n, sent.data() + c * n);
      std::vector<int> counts;
      for (const auto c : clients) counts.push_back(static_cast<int>(c * n));
      comm.gather(std::span<const float>(sent.data(), clients_ * n), std::span<float>(received), counts);
      if (comm.is_root() && total > 0)
        combine_({received.data(), static_cast<Eigen::Index>(n), static_cast<Eigen::Index>(total)},
                 result.subspan(first, n));
    }
    if (comm.is_root() && total == 0) std::fill(result.begin(), result.end(), 0.0F);
  }
  std::size_t bytes_up(std::size_t, std::size_t clients) const override {
    return clients * parameters_ * sizeof(float);
  }
  std::size_t memory(std::size_t clients) const override { return bytes_up(1, clients) + kBlockBytes; }

 private:
  static constexpr std::size_t kBlockBytes = std::size_t{16} << 20;  // what rank 0 holds of the updates
  std::size_t parameters_;
  void (*combine_)(MatrixView, std::span<float>);
  Vector updates_;  // one after the other
  std::size_t clients_ = 0;
  std::mutex mutex_;
};

}  // namespace

std::unique_ptr<Exchange> make_exchange(const Kind& kind, std::size_t parameters) {
  switch (kind.need) {
    case Need::exact_sum:
      return std::make_unique<ExactSum>(parameters);
    case Need::float_sum:
      return std::make_unique<FloatSum>(parameters);
    case Need::individual:
      return std::make_unique<Gather>(parameters, kind.combine);
  }
  fail(ExitCode::bug, "aggregate.kind: '{}' has no exchange", kind.name);
}

}  // namespace fedmpi::aggregate
