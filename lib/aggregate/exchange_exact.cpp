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

// Numbers that travel between nodes in one call: fewer at first, since nothing travels while they are added up.
// Shorter blocks cost more, in calls and in ranks that wait for each other, than they hide.
constexpr std::size_t kFirstBlock = std::size_t{1} << 17, kBlock = std::size_t{1} << 18;

class ExactExchange : public Exchange {
 public:
  ExactExchange(const Layout& message, const Place& place)
      : cluster_(place.cluster),
        node_(message, cluster_, place.threads),
        result_(cluster_, cluster_.is_root() ? message.size() : 0),
        stages_(cluster_, cluster_.nodes() > 1 && cluster_.leads() ? 2 * std::min(kBlock, numbers()) : 0) {}

  void begin(std::size_t) override { node_.begin(); }
  std::span<float> room(std::size_t thread) override { return node_.room(thread); }
  void take(std::size_t thread, double weight, const secure::Largest& largest) override {
    node_.take(thread, weight, largest);
  }

  void set_scale(const secure::Scale& scale) override { node_.set_scale(scale); }
  bool encoded() const override { return node_.encoded(); }
  bool has_scale() const override { return true; }

  std::span<float> deliver(double correction) override {
    if (cluster_.nodes() == 1)
      add_up_here(correction);
    else
      add_up_on_the_way(correction);
    return cluster_.is_root() ? result_.mine() : std::span<float>();
  }

  std::size_t bytes_up(std::size_t participants, std::size_t) const override {
    return participants * numbers() * sizeof(std::int64_t);
  }

 private:
  std::size_t numbers() const { return node_.coder().numbers(); }

  void add_up_here(double correction) const {
    const std::span<float> result = result_.of(0);
    alignas(kAlignment) std::array<std::int64_t, NodeSums::kTile> tile;
    node_.in_slices(numbers(), [&](std::size_t first, std::size_t n) {
      const std::span<std::int64_t> sum = std::span(tile).first(n);
      node_.add_up(first, sum);
      node_.coder().decode(sum, correction, node_.scale(), first, result);
    });
    if (node_.slices_of(numbers()) > 1) cluster_.arrive();
  }

  // Calls work(first, n, second) for one block of numbers after the other, of which every other one is `second`.
  template <class Work>
  void in_blocks(Work work) const {
    bool second = false;
    for (std::size_t first = 0, n = 0; first < numbers(); first += n, second = !second) {
      n = std::min(std::clamp(first, kFirstBlock, kBlock), numbers() - first);
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
        node_.coder().decode(elsewhere, correction, node_.scale(), first, result_.mine());
      } else if (cluster_.leads()) {
        cluster_.send_sum(here);
      }
      cluster_.release();  // the other stage is free
    });
    if (cluster_.leads()) cluster_.finish_sum();
  }

  mpi::Cluster& cluster_;
  NodeSums node_;
  mpi::Shared<float> result_;
  mpi::Shared<std::int64_t> stages_;
};

}  // namespace

std::size_t exact_memory(const Layout& message, std::size_t threads, std::size_t clients) {
  return NodeSums::memory(secure::Coder(message).numbers(), threads, clients);
}

std::unique_ptr<Exchange> make_exact_exchange(const Layout& message, const Place& place) {
  return std::make_unique<ExactExchange>(message, place);
}

}  // namespace fedmpi::aggregate
