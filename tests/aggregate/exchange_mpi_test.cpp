// Every exchange against the same sum or combination made in one place.
#include "aggregate/exchange.hpp"

#include <gtest/gtest.h>

#include <algorithm>
#include <numeric>

#include "base/thread_pool.hpp"
#include "base/vector.hpp"
#include "secure/ring.hpp"

namespace fedmpi::aggregate {
namespace {

constexpr int kExponent = secure::kFirstExponent;

// A cohort whose client c holds c + 1 examples. Which rank hosts which client is arbitrary; some host none.
struct Cohort {
  std::size_t clients, parameters;

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

// What the clients listed deliver, on rank 0.
Vector delivered(mpi::Communicator& comm, Exchange& exchange, const Cohort& cohort, std::vector<std::size_t> listed,
                 double correction = 1.0, std::size_t threads = 1) {
  std::vector<std::size_t> mine;
  for (const std::size_t c : cohort.hosted_by(comm))
    if (std::find(listed.begin(), listed.end(), c) != listed.end()) mine.push_back(c);
  exchange.begin(mine.size(), kExponent);
  ThreadPool(threads).run(
      mine.size(), [&](std::size_t, std::size_t i) { exchange.add(cohort.update(mine[i]), cohort.weight(mine[i])); });
  Vector result(cohort.parameters, -1.0F);
  exchange.deliver(comm, correction, result);
  return result;
}

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
  mpi::Communicator comm(MPI_COMM_WORLD);
  for (const Kind& kind : kinds()) {
    const auto exchange = make_exchange(kind, kCohort.parameters);
    const Vector first = delivered(comm, *exchange, kCohort, kCohort.all());
    if (comm.is_root()) expect_near(first, reference(kind, kCohort, kCohort.all(), 1.0), kind.name);

    // A round with fewer clients, of which nothing of the round before may be left; the sum is scaled up.
    const std::vector<std::size_t> some = {1, 4, 5, 9};
    const Vector second = delivered(comm, *exchange, kCohort, some, 1.75, 3);
    if (comm.is_root()) expect_near(second, reference(kind, kCohort, some, 1.75), kind.name);

    const Vector none = delivered(comm, *exchange, kCohort, {}, 0.0);
    EXPECT_TRUE(!comm.is_root() || none == Vector(kCohort.parameters)) << kind.name;
    EXPECT_GT(exchange->bytes_up(1, 2), 0u);
    EXPECT_GE(exchange->memory(2), exchange->bytes_up(1, 2));
  }
}

TEST(ExactExchange, HasTheBitsOfASerialSum) {
  mpi::Communicator comm(MPI_COMM_WORLD);
  for (const Kind& kind : kinds()) {
    if (kind.need != Need::exact_sum) continue;
    std::vector<std::int64_t> sum(kCohort.parameters);
    for (const std::size_t c : kCohort.all()) secure::add_encoded(kCohort.update(c), kCohort.weight(c), kExponent, sum);
    Vector expected(kCohort.parameters);
    secure::decode(sum, 1.25, kExponent, expected);
    for (const std::size_t threads : {1u, 4u}) {
      const Vector result =
          delivered(comm, *make_exchange(kind, kCohort.parameters), kCohort, kCohort.all(), 1.25, threads);
      EXPECT_TRUE(!comm.is_root() || result == expected) << kind.name << " by " << threads << " threads";
    }
  }
}

TEST(ExactExchange, KnowsWhatFitsItsScale) {
  for (const Kind& kind : kinds()) {
    const auto exchange = make_exchange(kind, 10);
    EXPECT_TRUE(exchange->fits(1.0F, kExponent)) << kind.name;
    EXPECT_EQ(exchange->fits(1e30F, kExponent), kind.need != Need::exact_sum) << kind.name;
  }
}

// More updates than rank 0 takes in at once.
TEST(GatherExchange, GoesThroughBlocksOfCoordinates) {
  mpi::Communicator comm(MPI_COMM_WORLD);
  constexpr Cohort kLarge{9, 700'001};
  for (const Kind& kind : kinds()) {
    if (kind.need != Need::individual) continue;
    const Vector result = delivered(comm, *make_exchange(kind, kLarge.parameters), kLarge, kLarge.all());
    if (comm.is_root()) expect_near(result, reference(kind, kLarge, kLarge.all(), 1.0), kind.name);
  }
}

}  // namespace
}  // namespace fedmpi::aggregate
