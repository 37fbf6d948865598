// The exact sum: of a node in memory that its ranks share, and between nodes by MPI, a block at a time, while the next
// is added up. The sums of nodes go by MPI_Reduce, so that rank 0 sees no more than their sum.
#include <algorithm>
#include <array>

#include "aggregate/exchange.hpp"
#include "aggregate/node_sums.hpp"
#include "base/vector.hpp"
#include "mpi/shared_memory.hpp"
#include "secure/ring.hpp"

namespace fedmpi::aggregate {

namespace {

// Coordinates that travel between nodes in one call: fewer at first, since nothing travels while they are added up.
// Shorter blocks cost more, in calls and in ranks that wait for each other, than they hide.
constexpr std::size_t kFirstBlock = std::size_t{1} << 17, kBlock = std::size_t{1} << 18;

class ExactExchange : public Exchange {
 public:
  ExactExchange(std::size_t parameters, const Place& place)
      : parameters_(parameters),
        cluster_(place.cluster),
        node_(parameters, cluster_, place.threads),
        result_(cluster_, cluster_.is_root() ? parameters : 0),
        stages_(cluster_, cluster_.nodes() > 1 && cluster_.leads() ? 2 * std::min(kBlock, parameters) : 0) {}

  void begin(std::size_t) override { node_.begin(); }
  std::span<float> room(std::size_t thread) override { return node_.room(thread); }
  void take(std::size_t thread, double weight, float largest) override { node_.take(thread, weight, largest); }

  void set_exponent(int exponent) override { node_.set_exponent(exponent); }
  bool encoded() const override { return node_.encoded(); }
  bool fits(float largest, int exponent) const override { return secure::fits(largest, exponent); }

  std::span<float> deliver(double correction) override {
    if (cluster_.nodes() == 1)
      add_up_here(correction);
    else
      add_up_on_the_way(correction);
    return cluster_.is_root() ? result_.mine() : std::span<float>();
  }

  std::size_t bytes_up(std::size_t participants, std::size_t) const override {
    return participants * parameters_ * sizeof(std::int64_t);
  }

 private:
  void add_up_here(double correction) const {
    const std::span<float> result = result_.of(0);
    alignas(kAlignment) std::array<std::int64_t, NodeSums::kTile> tile;
    node_.in_slices(parameters_, [&](std::size_t first, std::size_t n) {
      const std::span<std::int64_t> sum = std::span(tile).first(n);
      node_.add_up(first, sum);
      secure::decode(sum, correction, node_.exponent(), result.subspan(first, n));
    });
    if (node_.slices_of(parameters_) > 1) cluster_.arrive();
  }

  // Calls work(first, n, second) for one block of coordinates after the other, of which every other one is `second`.
  template <class Work>
  void in_blocks(Work work) const {
    bool second = false;
    for (std::size_t first = 0, n = 0; first < parameters_; first += n, second = !second) {
      n = std::min(std::clamp(first, kFirstBlock, kBlock), parameters_ - first);
      work(first, n, second);
    }
  }

  // Where the node's members add up such a block.
  std::span<std::int64_t> stage(bool second, std::size_t n) const {
    return stages_.of(0).subspan(second ? stages_.of(0).size() / 2 : 0, n);
  }

  // Together; the leader goes on when it is complete.
  void add_up_block(std::size_t begin, std::span<std::int64_t> sum) const {
    node_.in_slices(sum.size(),
                    [&](std::size_t first, std::size_t n) { node_.add_up(begin + first, sum.subspan(first, n)); });
    cluster_.arrive();
  }

  // Several nodes. Each adds up a block in one of its two stages, while the other one still travels; on rank 0 that one
  // takes in the sum of the other nodes.
  void add_up_on_the_way(double correction) const {
    in_blocks([&](std::size_t first, std::size_t n, bool second) {
      const std::span<std::int64_t> here = stage(second, n), elsewhere = stage(!second, n);
      const bool adds = !cluster_.is_root() || cluster_.members() > 1;  // on a node of its own it has nothing to add
      if (adds) add_up_block(first, here);
      if (cluster_.is_root()) {
        cluster_.receive_sum(elsewhere);
        if (adds) secure::add(here, elsewhere, secure::Encode::add);
        secure::decode(elsewhere, correction, node_.exponent(), result_.mine().subspan(first, n));
      } else if (cluster_.leads()) {
        cluster_.send_sum(here);
      }
      cluster_.release();  // the other stage is free
    });
    if (cluster_.leads()) cluster_.finish_sum();
  }

  std::size_t parameters_;
  mpi::Cluster& cluster_;
  NodeSums node_;
  mpi::Shared<float> result_;
  mpi::Shared<std::int64_t> stages_;
};

}  // namespace

std::size_t exact_memory(std::size_t parameters, std::size_t threads, std::size_t clients) {
  return NodeSums::memory(parameters, threads, clients);
}

std::unique_ptr<Exchange> make_exact_exchange(std::size_t parameters, const Place& place) {
  return std::make_unique<ExactExchange>(parameters, place);
}

}  // namespace fedmpi::aggregate
