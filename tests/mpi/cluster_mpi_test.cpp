// Two levels against what one would give: with memory shared and without, on any number of ranks.
#include "mpi/cluster.hpp"

#include <gtest/gtest.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <chrono>
#include <numeric>
#include <thread>

#include "mpi/shared_memory.hpp"
#include "support/expect_error.hpp"

namespace fedmpi::mpi {
namespace {

struct Extremes {
  std::int64_t sum, least;
  std::uint64_t bits;
};
void merge(Extremes& into, const Extremes& from) {
  into.sum += from.sum;
  into.least = std::min(into.least, from.least);
  into.bits |= from.bits;
}

class TwoLevels : public testing::TestWithParam<bool> {
 protected:
  Communicator comm_{MPI_COMM_WORLD};
  Cluster cluster_{comm_, GetParam()};
};
INSTANTIATE_TEST_SUITE_P(SharedMemory, TwoLevels, testing::Bool());

TEST_P(TwoLevels, OneNodePerMachineOrPerRank) {
  EXPECT_EQ(cluster_.nodes(), GetParam() ? 1 : comm_.size());  // the test's ranks are on one machine
  EXPECT_EQ(cluster_.members(), GetParam() ? comm_.size() : 1);
  EXPECT_EQ(cluster_.leads(), !GetParam() || comm_.is_root());
  EXPECT_EQ(cluster_.is_root(), comm_.is_root());
}

// More in a row than there are places for what the leader says, and with late readers.
TEST_P(TwoLevels, BroadcastsInARow) {
  for (int i = 0; i < 20; ++i) {
    if (i == 7) std::this_thread::sleep_for(std::chrono::milliseconds(10 * comm_.rank()));
    std::array<int, 5> value{};
    if (comm_.is_root()) value.fill(i);
    cluster_.broadcast(value);
    EXPECT_EQ(value[4], i);
  }
}

TEST_P(TwoLevels, MergesWhatAllSay) {
  const int n = comm_.size(), r = comm_.rank();
  for (int i = 0; i < 20; ++i) {
    // Some are late, by more than the others look before they sleep.
    if (i % 5 == r % 5) std::this_thread::sleep_for(std::chrono::milliseconds(3));
    Extremes e{r + i, -r, std::uint64_t{1} << r};
    cluster_.all_merge<Extremes, merge>(e);
    EXPECT_EQ(e.sum, n * (n - 1) / 2 + n * i);
    EXPECT_EQ(e.least, 1 - n);
    EXPECT_EQ(e.bits, (std::uint64_t{1} << n) - 1);
  }
}

TEST_P(TwoLevels, SharesMemoryOfAnySize) {
  const std::size_t mine = comm_.rank() % 3 == 1 ? 0 : 1000 + static_cast<std::size_t>(comm_.rank());
  const Shared<double> memory(cluster_, mine);
  EXPECT_EQ(memory.mine().size(), mine);
  EXPECT_EQ(reinterpret_cast<std::uintptr_t>(memory.mine().data()) % 64, 0u);
  std::fill(memory.mine().begin(), memory.mine().end(), comm_.rank());
  cluster_.arrive();
  cluster_.release();
  for (int m = 0; m < cluster_.members(); ++m) {
    const int rank = GetParam() ? m : comm_.rank();
    EXPECT_EQ(memory.of(m).size(), rank % 3 == 1 ? 0u : 1000u + static_cast<std::size_t>(rank));
    for (const double x : memory.of(m)) EXPECT_EQ(x, rank);
  }
  cluster_.arrive();
}

// The vector is every node's own copy, filled before any of its members goes on.
TEST_P(TwoLevels, BroadcastsAVectorToEveryNode) {
  for (const std::size_t n : {1u, 16'384u, 70'000u}) {
    const Shared<float> memory(cluster_, cluster_.leads() ? n : 0);
    for (int i = 1; i <= 3; ++i) {
      int value = comm_.is_root() ? i : 0;
      if (comm_.is_root()) std::iota(memory.mine().begin(), memory.mine().end(), static_cast<float>(i));
      cluster_.broadcast(value, memory.of(0));
      EXPECT_EQ(value, i);
      EXPECT_EQ(memory.of(0).front(), static_cast<float>(i));
      EXPECT_EQ(memory.of(0).back(), static_cast<float>(n - 1) + static_cast<float>(i));
      cluster_.arrive();  // all have read before it changes
      cluster_.release();
    }
  }
}

// One block travels while the next is made.
TEST_P(TwoLevels, SumsOverTheOtherNodes) {
  if (cluster_.nodes() == 1 || !cluster_.leads()) return;
  const int n = comm_.size();
  std::array<std::vector<std::int64_t>, 2> blocks;
  for (int i = 0; i < 7; ++i) {
    std::vector<std::int64_t>& block = blocks[static_cast<std::size_t>(i) % 2];
    block.assign(30'000, i + comm_.rank());
    if (!comm_.is_root()) {
      cluster_.send_sum(std::span(block));
      continue;
    }
    cluster_.receive_sum(std::span(block));
    for (const std::int64_t x : block) ASSERT_EQ(x, (n - 1) * i + n * (n - 1) / 2);
  }
  cluster_.finish_sum();
}

// Rank 0 names who keeps it waiting, and nobody else. In the end all go on.
TEST(Deadline, NamesWhoDoesNotAnswer) {
  Communicator comm(MPI_COMM_WORLD);
  Cluster cluster(comm, true, {.deadline = 0.5});
  if (comm.size() == 1) return;
  if (comm.is_root()) {
    const std::string last = std::to_string(comm.size() - 1);
    test::expect_error(ExitCode::stopped, {"no answer from rank " + last + " for 0.5 s"}, [&] { cluster.arrive(); });
  } else {
    if (comm.rank() == comm.size() - 1) std::this_thread::sleep_for(std::chrono::seconds(2));
    cluster.arrive();
  }
  cluster.release();
}

// The time is that of all together, not of each.
TEST(Deadline, IsNotBegunAnewForEachWhoIsLate) {
  Communicator comm(MPI_COMM_WORLD);
  Cluster cluster(comm, true, {.deadline = 0.5});
  if (comm.size() < 5) return;
  if (comm.is_root()) {
    const std::string last = std::to_string(comm.size() - 1);
    test::expect_error(ExitCode::stopped, {"no answer from rank ", last + " for 0.5 s"}, [&] { cluster.arrive(); });
  } else {
    std::this_thread::sleep_for(std::chrono::milliseconds(400 * comm.rank()));
    cluster.arrive();
  }
  cluster.release();
}

// So it does when those who wait are themselves waited for: here for the sum that one of them holds up.
TEST(Deadline, NamesWhoHoldsUpASumBetweenNodes) {
  Communicator comm(MPI_COMM_WORLD);
  Cluster cluster(comm, false, {.deadline = 0.5});
  if (comm.size() == 1) return;
  static std::array<std::int64_t, 3> block = {1, 2, 3};  // MPI may use it after the call was given up
  if (comm.is_root()) {
    const std::string last = std::to_string(comm.size() - 1);
    test::expect_error(ExitCode::stopped, {"no answer from rank " + last + " for 0.5 s"},
                       [&] { cluster.receive_sum(std::span(block)); });
    std::this_thread::sleep_for(std::chrono::milliseconds(1500));
  } else {
    if (comm.rank() == comm.size() - 1) std::this_thread::sleep_for(std::chrono::seconds(2));
    cluster.send_sum(std::span(block));
  }
  Extremes all{};
  cluster.all_merge<Extremes, merge>(all);
}

// Nor is anybody named when it is rank 0 that is late.
TEST(Deadline, NamesNobodyWhoWaits) {
  Communicator comm(MPI_COMM_WORLD);
  Cluster cluster(comm, true, {.deadline = 0.5});
  if (comm.is_root()) std::this_thread::sleep_for(std::chrono::seconds(1));
  EXPECT_EQ(comm.gather(std::string("x")).size(), comm.is_root() ? static_cast<std::size_t>(comm.size()) : 0);
  cluster.arrive();
  cluster.release();
}

// A gather that somebody is late for.
TEST(Deadline, NamesWhoHoldsUpAGather) {
  Communicator comm(MPI_COMM_WORLD);
  Cluster cluster(comm, true, {.deadline = 0.5});
  if (comm.size() == 1) return;
  static std::vector<int> all(static_cast<std::size_t>(comm.size()));
  static std::vector<int> counts(all.size(), 1);
  static const int mine = comm.rank();
  const auto gather = [&] { comm.gather(std::span(&mine, 1), std::span(all), counts); };
  if (comm.is_root()) {
    test::expect_error(ExitCode::stopped, {"no answer from rank " + std::to_string(comm.size() - 1) + " for 0.5 s"},
                       gather);
  } else {
    if (comm.rank() == comm.size() - 1) std::this_thread::sleep_for(std::chrono::seconds(2));
    gather();
  }
  cluster.release();
}

}  // namespace
}  // namespace fedmpi::mpi
