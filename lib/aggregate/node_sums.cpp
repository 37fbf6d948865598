#include "aggregate/node_sums.hpp"

#include <algorithm>
#include <atomic>
#include <utility>

namespace fedmpi::aggregate {

namespace {

// Fewer numbers to add up are not worth another rank's help: less so where members outnumber cores, since it has to
// wait for its turn. Nor is the update of one thread, half of which would be no more work than its sum is on the way
// back to the leader, unless vectors are so long that they lie in no core's own cache. (Each thread counts as one with
// an update, so that members agree without asking.)
constexpr std::size_t kHelp = std::size_t{1} << 13, kHelpInACrowd = std::size_t{1} << 15;
constexpr std::size_t kCached = std::size_t{1} << 18;
constexpr std::size_t kSums = std::size_t{1} << 24;  // bytes of a rank's sums, if there is to be more than one

}  // namespace

bool NodeSums::Shares::any_sum() const {
  return std::ranges::any_of(of.subspan(threads()), [](double holds) { return holds > 0; });
}

std::size_t NodeSums::sums_for(std::size_t threads, std::size_t parameters) {
  return std::min(threads, std::max<std::size_t>(1, kSums / (parameters * sizeof(std::int64_t))));
}

std::size_t NodeSums::memory(std::size_t parameters, std::size_t threads, std::size_t clients) {
  const std::size_t encoded = clients > 0 ? clients - 1 : 0;
  return std::min(sums_for(threads, parameters), encoded) * parameters * sizeof(std::int64_t);
}

NodeSums::NodeSums(std::size_t parameters, mpi::Cluster& cluster, std::size_t threads)
    : cluster_(cluster),
      parameters_(parameters),
      stride_(up_to_line(parameters)),
      largest_(threads),
      rooms_(cluster, threads * stride_),
      sums_(cluster, sums_for(threads, parameters) * stride_),
      shares_(cluster, 2 * threads) {
  for (std::size_t i = 0; i < sums_for(threads, parameters); ++i) blocks_.emplace_back(parameters);
  for (int m = 0; m < cluster_.members(); ++m) threads_of_all_ += Shares{shares_.of(m)}.threads();
  begin();
}

void NodeSums::begin() {
  std::fill(shares_.mine().begin(), shares_.mine().end(), 0.0);
  for (BlockLocks& blocks : blocks_) blocks.reset();
}

std::span<float> NodeSums::room(std::size_t thread) {
  const std::span<float> room = room_of(cluster_.member(), thread);
  double& share = mine().room(thread);
  if (share > 0) encode(room, std::exchange(share, 0.0), largest_[thread], thread % blocks_.size());
  return room;
}

void NodeSums::take(std::size_t thread, double weight, float largest) {
  mine().room(thread) = weight;
  largest_[thread] = largest;
}

std::span<float> NodeSums::room_of(int member, std::size_t thread) const {
  return rooms_.of(member).subspan(thread * stride_, parameters_);
}

std::span<std::int64_t> NodeSums::sum_of(int member, std::size_t i) const {
  return sums_.of(member).subspan(i * stride_, parameters_);
}

// Adds an update to one of this rank's sums.
void NodeSums::encode(std::span<const float> update, double weight, float largest, std::size_t sum) {
  std::atomic_ref(mine().sum(sum)) = 1.0;
  // The round is done again if one does not fit; until then nothing may overflow.
  if (secure::overflows(largest, exponent_)) return;
  blocks_[sum].for_each([&](std::size_t first, std::size_t n, bool begun) {
    secure::encode(update.subspan(first, n), weight, exponent_, sum_of(cluster_.member(), sum).subspan(first, n),
                   begun ? secure::Encode::add : secure::Encode::set);
  });
}

void NodeSums::add_up(std::size_t first, std::span<std::int64_t> sum) const {
  secure::Encode how = secure::Encode::set;
  for (int m = 0; m < cluster_.members(); ++m) {
    const Shares shares{shares_.of(m)};
    for (std::size_t i = 0; i < shares.threads(); ++i)
      if (shares.sum(i) > 0)
        secure::add(sum_of(m, i).subspan(first, sum.size()), sum, std::exchange(how, secure::Encode::add));
    for (std::size_t t = 0; t < shares.threads(); ++t)
      if (shares.room(t) > 0)
        secure::encode(room_of(m, t).subspan(first, sum.size()), shares.room(t), exponent_, sum,
                       std::exchange(how, secure::Encode::add));
  }
  if (how == secure::Encode::set) std::fill(sum.begin(), sum.end(), 0);
}

std::size_t NodeSums::slices_of(std::size_t n) const {
  const bool crowd = cluster_.members() > cluster_.cores();
  std::size_t slices = static_cast<std::size_t>(crowd ? cluster_.cores() : cluster_.members());
  slices = std::min(slices, n * threads_of_all_ / (crowd ? kHelpInACrowd : kHelp));
  if (parameters_ < kCached) slices = std::min(slices, threads_of_all_ / 2);
  return std::max<std::size_t>(slices, 1);
}

}  // namespace fedmpi::aggregate
