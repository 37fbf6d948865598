// The cluster of threads that other tests use does what every cluster does, and loses ranks where it is told to.
#include "support/thread_cluster.hpp"

#include <gtest/gtest.h>

#include <vector>

#include "support/cluster_contract.hpp"
#include "support/expect_error.hpp"

namespace fedmpi::test {
namespace {

void add(int& into, const int& from) { into += from; }

TEST(ThreadCluster, KeepsTheContract) {
  for (const int ranks : {1, 2, 5})
    ThreadRanks(ranks).run([](ThreadCluster& cluster) { expect_cluster(cluster, cluster.rank(), cluster.size()); });
}

// Rank 2 leaves instead of its first, second or third call: in that one rank 0 finds out, and no other call waits for
// it.
TEST(ThreadCluster, LosesRanksAtTheCallThatWasAskedFor) {
  for (std::size_t call = 0; call < 3; ++call) {
    std::vector<std::size_t> lost;
    int sum = 0;
    ThreadRanks(4, {.losses = {{.rank = 2, .call = call}}}).run([&](ThreadCluster& cluster) {
      EXPECT_TRUE(cluster.survives());
      std::vector<float> vector(100, cluster.is_root() ? 3.0F : 0.0F);
      std::vector<std::int64_t> block(10, cluster.rank());
      int value = 1;
      cluster.broadcast(value, vector);
      EXPECT_EQ(vector.back(), 3.0F);
      if (cluster.is_root()) lost.push_back(cluster.lost());
      cluster.all_merge<int, add>(value);
      if (cluster.is_root()) lost.push_back(cluster.lost());
      if (!cluster.is_root()) return cluster.send_sum(block);
      sum = value;
      cluster.receive_sum(block);
      lost.push_back(cluster.lost());
      EXPECT_EQ(block.front(), 1 + 3);
      EXPECT_EQ(cluster.lost(0), 2);
      EXPECT_EQ(cluster.take_traffic(), (mpi::Traffic{(call == 0 ? 2u : 3u) * 400, 2 * 80}));
    });
    EXPECT_EQ(lost, (std::vector<std::size_t>{call <= 0 ? 1u : 0u, call <= 1 ? 1u : 0u, 1u}));
    EXPECT_EQ(sum, call <= 1 ? 3 : 4);
  }
}

// What a rank said before it left counts; that it has left is found in what follows.
TEST(ThreadCluster, HearsWhatALostRankSaidBefore) {
  ThreadRanks(3).run([](ThreadCluster& cluster) {
    std::vector<std::int64_t> block(10, 1);
    if (!cluster.is_root()) cluster.send_sum(block);
    if (cluster.rank() == 1) cluster.leave();
    if (cluster.is_root()) cluster.receive_sum(block);
    EXPECT_EQ(block.front(), cluster.is_root() ? 2 : 1);
    int value = 1;
    cluster.all_merge<int, add>(value);
    EXPECT_EQ(value, 2);
    EXPECT_EQ(cluster.lost(), cluster.is_root() ? 1u : 0u);
  });
}

TEST(ThreadCluster, EndsAllWithALossThatItIsNotToSurvive) {
  expect_error(ExitCode::stopped, {"no answer from rank 1"}, [] {
    ThreadRanks(3, {.losses = {{.rank = 1, .call = 4}}, .survive = false}).run([](ThreadCluster& cluster) {
      for (int value = 1;; value = 1) cluster.all_merge<int, add>(value);
    });
  });
}

TEST(ThreadCluster, EndsAllWithTheErrorOfOne) {
  for (const int culprit : {0, 2})
    expect_error(ExitCode::io, {"disk"}, [&] {
      ThreadRanks(3).run([&](ThreadCluster& cluster) {
        for (int i = 0;; ++i) {
          int value = 1;
          if (i == 5 && cluster.rank() == culprit) fail(ExitCode::io, "disk");
          cluster.all_merge<int, add>(value);
        }
      });
    });
}

TEST(ThreadCluster, TellsTheOthersThatRankZeroIsGone) {
  expect_error(ExitCode::stopped, {"rank 0 is gone"}, [] {
    ThreadRanks(3, {.losses = {{.rank = 0, .call = 2}}}).run([](ThreadCluster& cluster) {
      for (int value = 1;; value = 1) cluster.all_merge<int, add>(value);
    });
  });
}

}  // namespace
}  // namespace fedmpi::test
