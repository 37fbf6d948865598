// The exact sum. Each thread's last update stays a float vector in memory that the node shares; those before it are
// encoded into a sum when their room is needed again: one for each thread, since threads that share one drag it from
// core to core; fewer of long vectors, of which they rarely want the same part at once. So a participant with one
// client a round never holds a 64-bit vector, and at the end the node's members add up a slice of the coordinates each,
// straight from where the updates lie. Between nodes the sums of the nodes go by MPI_Reduce, a block at a time, while
// the next is added up.
#include <algorithm>
#include <array>
#include <atomic>
#include <deque>
#include <utility>
#include <vector>

#include "aggregate/block_locks.hpp"
#include "aggregate/exchange.hpp"
#include "mpi/shared_memory.hpp"
#include "secure/ring.hpp"

namespace fedmpi::aggregate {

namespace {

constexpr std::size_t kTile = std::size_t{1}
                              << 10;  // coordinates summed at once: 8 KiB, well inside the first-level cache
constexpr std::size_t kSlice = std::size_t{1} << 15;  // fewer are not worth waking another rank for
constexpr std::size_t kStage = std::size_t{1} << 16;  // coordinates that travel between nodes in one call
constexpr std::size_t kSums = std::size_t{1} << 24;   // bytes of a rank's sums, if there is to be more than one

std::size_t up_to_line(std::size_t n) { return (n + 15) / 16 * 16; }  // floats in 64 bytes

std::size_t sums_for(std::size_t threads, std::size_t parameters) {
  return std::min(threads, std::max<std::size_t>(1, kSums / (parameters * sizeof(std::int64_t))));
}

// What a rank tells its node about its updates: two numbers for each of its threads.
struct Shares {
  std::span<double> of;

  std::size_t threads() const { return of.size() / 2; }
  double& room(std::size_t thread) const { return of[thread]; }   // the weight of the update there, 0 without one
  double& sum(std::size_t i) const { return of[threads() + i]; }  // 1 if it holds something
  bool any_sum() const {
    return std::ranges::any_of(of.subspan(threads()), [](double holds) { return holds > 0; });
  }
};

class ExactExchange : public Exchange {
 public:
  ExactExchange(std::size_t parameters, const Place& place)
      : parameters_(parameters),
        stride_(up_to_line(parameters)),
        largest_(place.threads),
        cluster_(place.cluster),
        result_(cluster_, cluster_.is_root() ? parameters : 0),
        rooms_(cluster_, place.threads * stride_),
        sums_(cluster_, sums_for(place.threads, parameters) * stride_),
        stages_(cluster_, cluster_.nodes() > 1 && cluster_.leads() ? 2 * std::min(kStage, parameters) : 0),
        shares_(cluster_, 2 * place.threads) {
    for (std::size_t i = 0; i < sums_for(place.threads, parameters); ++i) blocks_.emplace_back(parameters);
    begin(0);
  }

  void begin(std::size_t) override {
    std::fill(shares_.mine().begin(), shares_.mine().end(), 0.0);
    for (BlockLocks& blocks : blocks_) blocks.reset();
  }

  std::span<float> room(std::size_t thread) override {
    const std::span<float> room = room_of(cluster_.member(), thread);
    double& share = mine().room(thread);
    if (share > 0) encode(room, std::exchange(share, 0.0), largest_[thread], thread % blocks_.size());
    return room;
  }
  void take(std::size_t thread, double weight, float largest) override {
    mine().room(thread) = weight;
    largest_[thread] = largest;
  }

  void set_exponent(int exponent) override { exponent_ = exponent; }
  bool encoded() const override { return mine().any_sum(); }
  bool fits(float largest, int exponent) const override { return secure::fits(largest, exponent); }

  std::span<float> deliver(double correction) override {
    if (cluster_.nodes() == 1) {
      add_up_here(correction);
    } else {
      for (std::size_t first = 0; first < parameters_; first += kStage)
        add_up_between_nodes(first, std::min(kStage, parameters_ - first), correction);
      if (cluster_.leads()) cluster_.finish_sum();
    }
    return cluster_.is_root() ? result_.mine() : std::span<float>();
  }

  std::size_t bytes_up(std::size_t participants, std::size_t) const override {
    return participants * parameters_ * sizeof(std::int64_t);
  }

 private:
  std::span<std::int64_t> stage(bool second, std::size_t n) const {
    return stages_.of(0).subspan(second ? stages_.of(0).size() / 2 : 0, n);
  }
  Shares mine() const { return {shares_.mine()}; }
  std::span<float> room_of(int member, std::size_t thread) const {
    return rooms_.of(member).subspan(thread * stride_, parameters_);
  }

  std::span<std::int64_t> sum_of(int member, std::size_t i) const {
    return sums_.of(member).subspan(i * stride_, parameters_);
  }

  // Adds an update to one of this rank's sums.
  void encode(std::span<const float> update, double weight, float largest, std::size_t sum) {
    std::atomic_ref(mine().sum(sum)) = 1.0;
    // The round is done again if one does not fit; until then nothing may overflow.
    if (secure::overflows(largest, exponent_)) return;
    blocks_[sum].for_each([&](std::size_t first, std::size_t n, bool begun) {
      secure::encode(update.subspan(first, n), weight, exponent_, sum_of(cluster_.member(), sum).subspan(first, n),
                     begun ? secure::Encode::add : secure::Encode::set);
    });
  }

  // The node's sum of coordinates first … first + sum.size() - 1.
  void add_up(std::size_t first, std::span<std::int64_t> sum) const {
    secure::Encode how = secure::Encode::set;
    for (int m = 0; m < cluster_.members(); ++m) {
      const Shares shares{shares_.of(m)};
      for (std::size_t i = 0; i < shares.threads(); ++i) {
        if (shares.sum(i) == 0) continue;
        const std::span<const std::int64_t> part = sum_of(m, i).subspan(first, sum.size());
        if (how == secure::Encode::set)
          std::copy(part.begin(), part.end(), sum.begin());
        else
          for (std::size_t j = 0; j < sum.size(); ++j) sum[j] += part[j];
        how = secure::Encode::add;
      }
      for (std::size_t t = 0; t < shares.threads(); ++t) {
        if (shares.room(t) == 0) continue;
        secure::encode(room_of(m, t).subspan(first, sum.size()), shares.room(t), exponent_, sum, how);
        how = secure::Encode::add;
      }
    }
    if (how == secure::Encode::set) std::fill(sum.begin(), sum.end(), 0);
  }

  // Calls work(begin, end) for this member's slice of n coordinates.
  template <class Work>
  void in_slices(std::size_t n, Work work) const {
    const int most = std::min(cluster_.members(), cluster_.cores());  // more would wait for one another
    const std::size_t slices = std::clamp<std::size_t>(n / kSlice, 1, static_cast<std::size_t>(most));
    const std::size_t slice = static_cast<std::size_t>(cluster_.member());
    if (slice < slices) work(up_to_line(n * slice / slices), std::min(n, up_to_line(n * (slice + 1) / slices)));
  }

  void add_up_here(double correction) const {
    const std::span<float> result = result_.of(0);
    alignas(64) std::array<std::int64_t, kTile> tile;
    in_slices(parameters_, [&](std::size_t begin, std::size_t end) {
      for (std::size_t first = begin; first < end; first += kTile) {
        const std::span<std::int64_t> sum(tile.data(), std::min(kTile, end - first));
        add_up(first, sum);
        secure::decode(sum, correction, exponent_, result.subspan(first, sum.size()));
      }
    });
    cluster_.arrive();
  }

  // Each node adds up these coordinates in one of its two stages. The other one still travels; on rank 0 it takes in
  // the sum of the other nodes.
  void add_up_between_nodes(std::size_t begin, std::size_t n, double correction) const {
    const bool odd = begin / kStage % 2 == 1;
    const std::span<std::int64_t> here = stage(odd, n), elsewhere = stage(!odd, n);
    if (!cluster_.is_root() || cluster_.members() > 1)  // on a node of its own it has nothing to add
      in_slices(n, [&](std::size_t from, std::size_t to) {
        for (std::size_t first = from; first < to; first += kTile)
          add_up(begin + first, here.subspan(first, std::min(kTile, to - first)));
      });
    cluster_.arrive();
    if (cluster_.is_root()) {
      cluster_.receive_sum(elsewhere);
      if (cluster_.members() > 1)
        for (std::size_t j = 0; j < n; ++j) elsewhere[j] += here[j];
      secure::decode(elsewhere, correction, exponent_, result_.mine().subspan(begin, n));
    } else if (cluster_.leads()) {
      cluster_.send_sum(here);
    }
    cluster_.release();  // the other stage is free
  }

  std::size_t parameters_, stride_;  // stride_: of the rooms and of the sums
  std::vector<float> largest_;       // magnitude of the update in each room
  mpi::Cluster& cluster_;
  mpi::Shared<float> result_, rooms_;  // rooms_: one for each thread
  mpi::Shared<std::int64_t> sums_, stages_;
  mpi::Shared<double> shares_;
  std::deque<BlockLocks> blocks_;  // of each of this rank's sums
  int exponent_ = secure::kFirstExponent;
};

}  // namespace

std::size_t exact_memory(std::size_t parameters, std::size_t threads, std::size_t clients) {
  const std::size_t encoded = clients > 0 ? clients - 1 : 0;
  return std::min(sums_for(threads, parameters), encoded) * parameters * sizeof(std::int64_t);
}

std::unique_ptr<Exchange> make_exact_exchange(std::size_t parameters, const Place& place) {
  return std::make_unique<ExactExchange>(parameters, place);
}

}  // namespace fedmpi::aggregate
