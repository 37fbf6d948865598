// Every kind of cluster, on any number of ranks: as one node, as a node for each rank, as nodes of two, and without
// collectives.
#include "mpi/cluster.hpp"

#include <gtest/gtest.h>

#include <algorithm>
#include <array>
#include <chrono>
#include <memory>
#include <string>
#include <thread>
#include <vector>

#include "mpi/shared_memory.hpp"
#include "support/cluster_contract.hpp"
#include "support/expect_error.hpp"
#include "support/gate.hpp"

namespace fedmpi::mpi {
namespace {

std::unique_ptr<Communicator> nodes_of(int ranks, const Communicator& comm) {
  MPI_Comm these;
  MPI_Comm_split(comm.handle(), comm.rank() / ranks, comm.rank(), &these);
  auto made = std::make_unique<Communicator>(these);
  MPI_Comm_free(&these);
  return made;
}

TEST(EveryCluster, KeepsTheContract) {
  Communicator comm(MPI_COMM_WORLD);
  const int n = comm.size();
  const auto expect = [&](std::unique_ptr<Cluster> cluster, int nodes, int members) {
    EXPECT_EQ(cluster->nodes(), nodes);
    EXPECT_EQ(cluster->members(), members);
    test::expect_cluster(*cluster, comm.rank(), n);
  };
  expect(make_cluster(comm, true), 1, n);  // the ranks of the test are on one machine
  expect(make_cluster(comm, false), n, 1);
  expect(make_cluster(comm, nodes_of(2, comm)), (n + 1) / 2, comm.rank() == n - 1 && n % 2 == 1 ? 1 : 2);
  expect(make_cluster(comm, true, {.deadline = 60, .survive = true}), n, 1);
  EXPECT_EQ(make_cluster(comm, false, {.deadline = 60, .survive = true})->survives(), n > 1);
}

class TwoLevels : public testing::TestWithParam<bool> {
 protected:
  Communicator comm_{MPI_COMM_WORLD};
  std::unique_ptr<Cluster> cluster_ = make_cluster(comm_, GetParam());
};
INSTANTIATE_TEST_SUITE_P(SharedMemory, TwoLevels, testing::Bool());

// Some are late, by more than the others look before they sleep.
TEST_P(TwoLevels, WaitForLateRanks) {
  for (int i = 0; i < 20; ++i) {
    if (i % 5 == comm_.rank() % 5) std::this_thread::sleep_for(std::chrono::milliseconds(3));
    int value = comm_.is_root() ? i : 0;
    cluster_->broadcast(value);
    EXPECT_EQ(value, i);
    test::Extremes e{comm_.rank(), 0, 0};
    cluster_->all_merge<test::Extremes, test::merge>(e);
    EXPECT_EQ(e.sum, comm_.size() * (comm_.size() - 1) / 2);
  }
}

// What the communicator that a cluster is made of carries counts too: updates that are gathered or added up as floats.
TEST_P(TwoLevels, CountTheTrafficOfTheirCommunicator) {
  const std::uint64_t others = static_cast<std::uint64_t>(comm_.size()) - 1;
  std::vector<float> values(1000);
  comm_.reduce_sum(std::span(values));
  const std::vector<int> counts(static_cast<std::size_t>(comm_.is_root() ? comm_.size() : 0), 1000);
  std::vector<float> all(1000 * counts.size());
  comm_.gather(std::span<const float>(values), std::span(all), counts);
  std::string text = "a sentence";
  comm_.broadcast(text);
  comm_.all_sum(std::span(values));
  const Traffic expected = {.down = 0, .up = comm_.is_root() ? 2 * others * 4000 : 0};
  EXPECT_EQ(cluster_->take_traffic(), expected);
}

// How long rank 0 waits in what follows, and for answers.
constexpr Patience kShort = {.deadline = 0.05, .to_answer = 0.5};

std::vector<std::string> no_answer_from_last(const Communicator& comm) {
  return {"no answer from rank " + std::to_string(comm.size() - 1) + " for 0.05 s"};
}

// A rank that was late answers rank 0's call all the same: that has to arrive before the communicator of calls is
// freed, or MPI takes it for a message of the next one.
void let_late_answers_arrive() { MPI_Barrier(MPI_COMM_WORLD); }

// Rank 0 names the rank that keeps it waiting, and no other. In the end all continue.
TEST(Deadline, NamesTheRankThatDoesNotAnswer) {
  Communicator comm(MPI_COMM_WORLD);
  const test::Gate gate;
  const auto cluster = make_cluster(comm, true, kShort);
  if (comm.size() == 1) return;
  const int last = comm.size() - 1;
  if (comm.is_root()) {
    test::expect_error(ExitCode::stopped, no_answer_from_last(comm), [&] { cluster->arrive(); });
    gate.open(last);
  } else {
    if (comm.rank() == last) gate.stand();
    cluster->arrive();
  }
  cluster->release();
  let_late_answers_arrive();
}

// The time is that of all together, not of each.
TEST(Deadline, IsNotBegunAnewForEachThatIsLate) {
  Communicator comm(MPI_COMM_WORLD);
  const auto cluster = make_cluster(comm, true, {.deadline = 0.25, .to_answer = 0.25});
  if (comm.size() < 5) return;
  if (comm.is_root()) {
    const std::string last = std::to_string(comm.size() - 1);
    test::expect_error(ExitCode::stopped, {"no answer from rank ", last + " for 0.25 s"}, [&] { cluster->arrive(); });
  } else {
    std::this_thread::sleep_for(std::chrono::milliseconds(200 * comm.rank()));
    cluster->arrive();
  }
  cluster->release();
  let_late_answers_arrive();
}

// So it does when those that wait are themselves waited for: here for the sum that one of them holds up.
TEST(Deadline, NamesTheRankThatHoldsUpASumBetweenNodes) {
  Communicator comm(MPI_COMM_WORLD);
  const test::Gate gate;
  const auto cluster = make_cluster(comm, false, kShort);
  if (comm.size() == 1) return;
  static std::array<std::int64_t, 3> block = {1, 2, 3};  // MPI may use it after the call was given up
  const int last = comm.size() - 1;
  if (comm.is_root()) {
    test::expect_error(ExitCode::stopped, no_answer_from_last(comm), [&] { cluster->receive_sum(std::span(block)); });
    gate.open(last);
  } else {
    if (comm.rank() == last) gate.stand();
    cluster->send_sum(std::span(block));
  }
  test::Extremes all{};
  cluster->all_merge<test::Extremes, test::merge>(all);
  let_late_answers_arrive();
}

// Nor is anybody named when it is rank 0 that is late.
TEST(Deadline, NamesNoRankThatWaits) {
  Communicator comm(MPI_COMM_WORLD);
  const auto cluster = make_cluster(comm, true, kShort);
  if (comm.is_root()) std::this_thread::sleep_for(std::chrono::milliseconds(200));
  EXPECT_EQ(comm.gather(std::string("x")).size(), comm.is_root() ? static_cast<std::size_t>(comm.size()) : 0);
  cluster->arrive();
  cluster->release();
  let_late_answers_arrive();
}

// A gather that a rank is late for.
TEST(Deadline, NamesTheRankThatHoldsUpAGather) {
  Communicator comm(MPI_COMM_WORLD);
  const test::Gate gate;
  const auto cluster = make_cluster(comm, true, kShort);
  if (comm.size() == 1) return;
  static std::vector<int> all(static_cast<std::size_t>(comm.size()));
  static std::vector<int> counts(all.size(), 1);
  static const int mine = comm.rank();
  const auto gather = [&] { comm.gather(std::span(&mine, 1), std::span(all), counts); };
  if (comm.is_root()) {
    test::expect_error(ExitCode::stopped, no_answer_from_last(comm), gather);
    gate.open(comm.size() - 1);
  } else {
    if (comm.rank() == comm.size() - 1) gate.stand();
    gather();
  }
  cluster->release();
  let_late_answers_arrive();
}

}  // namespace
}  // namespace fedmpi::mpi
