// The plain sum: MPI_Reduce on the numbers as they are, a block at a time.
#include <algorithm>
#include <atomic>
#include <vector>

#include "aggregate/block_locks.hpp"
#include "aggregate/exchange.hpp"
#include "base/vector.hpp"

namespace fedmpi::aggregate {

namespace {

constexpr std::size_t kStage = std::size_t{1} << 17;  // floats that travel in one call: half a mebibyte, in cache

class FloatExchange : public Exchange {
 public:
  FloatExchange(const Layout& message, const Place& place)
      : comm_(place.comm),
        message_(message),
        rooms_(place.threads, Vector(message.size())),
        sum_(message.size()),
        blocks_(message.size()) {}

  void begin(std::size_t) override {
    blocks_.reset();
    empty_ = true;
  }
  std::span<float> room(std::size_t thread) override { return rooms_[thread]; }
  void take(std::size_t thread, double weight, const secure::Largest&) override {
    blocks_.for_each([&](std::size_t first, std::size_t n, bool begun) {
      if (!begun) std::fill_n(sum_.begin() + static_cast<std::ptrdiff_t>(first), n, 0.0F);
      for_each_part(first, n, [&](const Tensor& t, std::size_t begin, std::size_t size) {
        add(t, weight, std::span<const float>(rooms_[thread]).subspan(begin, size),
            std::span(sum_).subspan(begin, size));
      });
    });
    empty_ = false;
  }
  std::span<float> deliver(double correction) override {
    if (empty_) std::fill(sum_.begin(), sum_.end(), 0.0F);
    for (std::size_t first = 0; first < sum_.size(); first += kStage)
      for_each_part(first, std::min(kStage, sum_.size() - first),
                    [&](const Tensor& t, std::size_t begin, std::size_t n) {
                      const std::span<float> part = std::span(sum_).subspan(begin, n);
                      if (t.options.type == Number::float64)
                        reduce(as_doubles(part), correction);
                      else
                        reduce(part, static_cast<float>(correction));
                    });
    return comm_.is_root() ? std::span(sum_) : std::span<float>();
  }
  std::size_t bytes_up(std::size_t participants, std::size_t) const override {
    return participants * sum_.size() * sizeof(float);
  }

 private:
  // Calls work(tensor, first float, floats) for what floats first … first + n - 1, which begin at an even one, have of
  // each tensor.
  template <class Work>
  void for_each_part(std::size_t first, std::size_t n, Work work) const {
    for (const Tensor& t : message_.tensors()) {
      const std::size_t begin = std::max(first, t.offset), end = std::min(first + n, t.offset + t.floats());
      if (begin < end) work(t, begin, end - begin);
    }
  }

  static void add(const Tensor& t, double weight, std::span<const float> values, std::span<float> sum) {
    if (t.options.type == Number::float64) {
      for (std::size_t j = 0; j < sum.size() / 2; ++j) as_doubles(sum)[j] += weight * as_doubles(values)[j];
    } else {
      const float w = static_cast<float>(weight);
      for (std::size_t j = 0; j < sum.size(); ++j) sum[j] += w * values[j];
    }
  }

  template <class T>
  void reduce(std::span<T> part, T correction) const {
    comm_.reduce_sum(part);
    if (comm_.is_root())
      for (T& x : part) x *= correction;
  }

  mpi::Communicator& comm_;
  Layout message_;
  std::vector<Vector> rooms_;
  Vector sum_;
  BlockLocks blocks_;
  std::atomic<bool> empty_{true};
};

}  // namespace

std::size_t float_memory(const Layout& message) { return message.size() * sizeof(float); }

std::unique_ptr<Exchange> make_float_exchange(const Layout& message, const Place& place) {
  return std::make_unique<FloatExchange>(message, place);
}

}  // namespace fedmpi::aggregate
