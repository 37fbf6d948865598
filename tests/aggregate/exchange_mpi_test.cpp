// Every exchange against the same sum or combination made in one place.
#include "aggregate/exchange.hpp"

#include <gtest/gtest.h>

#include <algorithm>
#include <array>
#include <chrono>
#include <cmath>
#include <numeric>
#include <span>
#include <thread>

#include "base/magnitude.hpp"
#include "base/thread_pool.hpp"
#include "base/vector.hpp"
#include "secure/ring.hpp"

namespace fedmpi::aggregate {
namespace {

constexpr int kExponent = secure::kFirstExponent;

// A cohort whose client c holds c + 1 examples. Which rank hosts which client is arbitrary; some host none.
struct Cohort {
  std::size_t clients, parameters;
  int host = -1;  // of all of them, or the last rank where there are fewer; else they are spread

  double weight(std::size_t c) const {
    return static_cast<double>(c + 1) / (static_cast<double>(clients * (clients + 1)) / 2);
  }
  // Values from -0.05 to 0.05 that have nothing to do with each other; fast to make.
  Vector update(std::size_t c) const {
    Vector values(parameters);
    for (std::size_t j = 0; j < parameters; ++j)
      values[j] = static_cast<float>((j + 1) * (c + 1) * 2654435761U % 100'003) * 1e-6F - 0.05F;
    return values;
  }
  std::vector<std::size_t> hosted_by(const mpi::Communicator& comm) const {
    if (host >= 0) return comm.rank() == std::min(host, comm.size() - 1) ? all() : std::vector<std::size_t>{};
    std::vector<std::size_t> mine;
    for (std::size_t c = 0; c < clients; ++c)
      if (static_cast<int>(c * c) % std::max(1, comm.size() - 1) == comm.size() - 1 - comm.rank()) mine.push_back(c);
    return comm.size() == 1 ? all() : mine;
  }
  std::vector<std::size_t> all() const {
    std::vector<std::size_t> everyone(clients);
    std::iota(everyone.begin(), everyone.end(), std::size_t{0});
    return everyone;
  }
};

// All ranks on one node, by shared memory; by MPI alone; and both, on two or three nodes of which some have several.
constexpr int kOneNode = 100;
constexpr std::array kRanksPerNode = {kOneNode, 1, 2, 3};

struct Exchanging {
  Exchanging(const Kind& kind, std::size_t parameters, int ranks_per_node, std::size_t threads = 3)
      : cluster(mpi::make_cluster(comm, ranks_per_node > 1 ? node(ranks_per_node) : nullptr)),
        exchange(make_exchange(kind, parameters, {comm, *cluster, comm.size() == 1 || !comm.is_root() ? threads : 0})) {
  }

  // What the clients listed deliver, on rank 0.
  Vector delivered(const Cohort& cohort, const std::vector<std::size_t>& listed, double correction = 1.0,
                   std::size_t threads = 1) {
    std::vector<std::size_t> mine;
    for (const std::size_t c : cohort.hosted_by(comm))
      if (std::find(listed.begin(), listed.end(), c) != listed.end()) mine.push_back(c);
    exchange->begin(mine.size());
    exchange->set_exponent(kExponent);
    ThreadPool(threads).run(mine.size(), [&](std::size_t thread, std::size_t i) {
      const Vector update = cohort.update(mine[i]);
      std::fill_n(exchange->room(thread).begin(), update.size(), NAN);  // a bad one, which nobody takes
      std::copy(update.begin(), update.end(), exchange->room(thread).begin());
      exchange->take(thread, cohort.weight(mine[i]), largest_magnitude(update));
    });
    std::uint64_t agreed = mine.size();
    cluster->all_merge<std::uint64_t, add>(agreed);
    if (comm.rank() == late) std::this_thread::sleep_for(std::chrono::milliseconds(20));
    const std::span<const float> result = exchange->deliver(correction);
    cluster->release();
    return {result.begin(), result.end()};
  }
  static void add(std::uint64_t& into, const std::uint64_t& from) { into += from; }

  std::unique_ptr<mpi::Communicator> node(int ranks) const {
    MPI_Comm these;
    MPI_Comm_split(comm.handle(), comm.rank() / ranks, comm.rank(), &these);
    auto made = std::make_unique<mpi::Communicator>(these);
    MPI_Comm_free(&these);
    return made;
  }

  mpi::Communicator comm{MPI_COMM_WORLD};
  std::unique_ptr<mpi::Cluster> cluster;
  std::unique_ptr<Exchange> exchange;
  int late = -1;  // this rank comes to the exchange when the others have left it
};

// The weighted sum of these clients in double, or what the kind makes of their updates.
Vector reference(const Kind& kind, const Cohort& cohort, const std::vector<std::size_t>& clients, double correction) {
  const std::size_t d = cohort.parameters;
  Vector result(d), columns;
  std::vector<double> sum(d);
  for (const std::size_t c : clients) {
    const Vector update = cohort.update(c);
    columns.insert(columns.end(), update.begin(), update.end());
    for (std::size_t j = 0; j < d; ++j) sum[j] += cohort.weight(c) * double{update[j]};
  }
  if (kind.need == Need::individual)
    kind.combine({columns.data(), static_cast<Eigen::Index>(d), static_cast<Eigen::Index>(clients.size())}, result);
  else
    for (std::size_t j = 0; j < d; ++j) result[j] = static_cast<float>(correction * sum[j]);
  return result;
}

void expect_near(const Vector& result, const Vector& expected, const char* kind) {
  double largest = 0.0;
  for (std::size_t j = 0; j < expected.size(); ++j)
    largest = std::max(largest, std::abs(double{result[j]} - double{expected[j]}));
  EXPECT_LT(largest, 1e-7) << kind;
}

// More parameters than fit one lock's block, and no multiple of it.
constexpr Cohort kCohort{11, 40'001};

TEST(EveryExchange, DeliversWhatOnePlaceWouldCompute) {
  for (const Kind& kind : kinds()) {
    for (const int ranks_per_node : kRanksPerNode) {
      Exchanging e(kind, kCohort.parameters, ranks_per_node);
      const Vector first = e.delivered(kCohort, kCohort.all());
      if (e.comm.is_root()) expect_near(first, reference(kind, kCohort, kCohort.all(), 1.0), kind.name);

      // A round with fewer clients, of which nothing of the round before may be left; the sum is scaled up.
      const std::vector<std::size_t> some = {1, 4, 5, 9};
      const Vector second = e.delivered(kCohort, some, 1.75, 3);
      if (e.comm.is_root()) expect_near(second, reference(kind, kCohort, some, 1.75), kind.name);

      const Vector none = e.delivered(kCohort, {}, 0.0);
      EXPECT_TRUE(!e.comm.is_root() || none == Vector(kCohort.parameters)) << kind.name;
      EXPECT_GT(e.exchange->bytes_up(1, 2), 0u);
    }
  }
}

void expect_bits_of_a_serial_sum(const Kind& kind, const Cohort& cohort, std::span<const int> ranks_per_node) {
  std::vector<std::int64_t> sum(cohort.parameters);
  for (const std::size_t c : cohort.all())
    secure::encode(cohort.update(c), cohort.weight(c), kExponent, sum, secure::Encode::add);
  Vector expected(cohort.parameters);
  secure::decode(sum, 1.25, kExponent, expected);
  for (const int ranks : ranks_per_node) {
    for (const std::size_t threads : {1u, 4u}) {
      Exchanging e(kind, cohort.parameters, ranks, threads);
      const Vector result = e.delivered(cohort, cohort.all(), 1.25, threads);
      EXPECT_TRUE(!e.comm.is_root() || result == expected) << kind.name << " by " << threads << " threads";
    }
  }
}

// Four threads with a sum each, with three, and with one for all.
TEST(ExactExchange, HasTheBitsOfASerialSum) {
  for (const Kind& kind : kinds()) {
    if (kind.need != Need::exact_sum) continue;
    expect_bits_of_a_serial_sum(kind, kCohort, kRanksPerNode);
    for (const Cohort& cohort : {Cohort{9, 600'001, 1}, Cohort{9, 2'100'001, 4}})
      expect_bits_of_a_serial_sum(kind, cohort, std::array{kOneNode, 1});
  }
}

// What goes from node to node in blocks: the sums of all, or of one, also of one update alone.
TEST(ExactExchange, HasTheBitsOfASerialSumInBlocks) {
  for (const Kind& kind : kinds())
    if (kind.need == Need::exact_sum)
      for (const Cohort& cohort :
           {Cohort{9, 700'001}, Cohort{9, 700'001, 1}, Cohort{1, 700'001, 1}, Cohort{1, 700'001, 4}})
        expect_bits_of_a_serial_sum(kind, cohort, std::array{1, 2, 3});
}

// A member that comes to the sum late must not find the next round's updates.
TEST(ExactExchange, WaitsForALateMember) {
  for (const Kind& kind : kinds()) {
    if (kind.need != Need::exact_sum) continue;
    Exchanging e(kind, 1'000, 3);
    for (int i = 0; i < 8; ++i) {
      const bool here = i % 2 == 0;  // on rank 0's node
      const Cohort cohort{1, 1'000, here ? 1 : 3};
      e.late = here ? 2 : 4;
      const Vector result = e.delivered(cohort, cohort.all());
      if (e.comm.is_root()) expect_near(result, reference(kind, cohort, cohort.all(), 1.0), kind.name);
    }
  }
}

// The last update of each thread stays in its room.
TEST(ExactExchange, HoldsNoMoreSumsThanUpdatesAreEncoded) {
  constexpr std::size_t kSmall = 1'000, kLarge = 3'000'000;
  for (const Kind& kind : kinds()) {
    if (kind.need != Need::exact_sum) continue;
    EXPECT_EQ(exchange_memory(kind, kSmall, 4, 1), 0u);
    EXPECT_EQ(exchange_memory(kind, kSmall, 4, 3), 2 * kSmall * sizeof(std::int64_t));
    EXPECT_EQ(exchange_memory(kind, kSmall, 4, 9), 4 * kSmall * sizeof(std::int64_t));
    EXPECT_EQ(exchange_memory(kind, kLarge, 4, 9), kLarge * sizeof(std::int64_t));
    EXPECT_EQ(exchange_memory(kind, kLarge, 0, 9), 0u) << "a rank that only aggregates";
  }
}

TEST(GatherExchange, HoldsEveryUpdate) {
  for (const Kind& kind : kinds())
    if (kind.need == Need::individual) {
      const std::size_t few = exchange_memory(kind, 1'000, 4, 4);
      EXPECT_EQ(exchange_memory(kind, 1'000, 4, 104), few + 100 * 1'000 * sizeof(float));
    }
}

TEST(ExactExchange, KnowsWhatFitsItsScale) {
  for (const Kind& kind : kinds()) {
    const Exchanging e(kind, 10, kOneNode);
    EXPECT_TRUE(e.exchange->fits(1.0F, kExponent)) << kind.name;
    EXPECT_EQ(e.exchange->fits(1e30F, kExponent), kind.need != Need::exact_sum) << kind.name;
  }
}

// An update that waits in its room has not been encoded, so the scale may still change; one before it has.
TEST(ExactExchange, TakesAnotherExponentUntilSomethingIsEncoded) {
  for (const Kind& kind : kinds()) {
    if (kind.need != Need::exact_sum) continue;
    Exchanging e(kind, 100, 1);
    if (e.comm.size() > 1 && e.comm.is_root()) continue;
    e.exchange->begin(2);
    for (const bool encoded : {false, true}) {
      std::fill_n(e.exchange->room(0).begin(), 100, 1.0F);
      e.exchange->take(0, 0.5, 1.0F);
      EXPECT_EQ(e.exchange->encoded(), encoded);
    }
    e.exchange->begin(1);
    EXPECT_FALSE(e.exchange->encoded());
  }
}

// More updates than rank 0 takes in at once.
TEST(GatherExchange, GoesThroughBlocksOfCoordinates) {
  constexpr Cohort kLarge{9, 700'001};
  for (const Kind& kind : kinds()) {
    if (kind.need != Need::individual) continue;
    Exchanging e(kind, kLarge.parameters, kOneNode);
    const Vector result = e.delivered(kLarge, kLarge.all());
    if (e.comm.is_root()) expect_near(result, reference(kind, kLarge, kLarge.all(), 1.0), kind.name);
  }
}

}  // namespace
}  // namespace fedmpi::aggregate
