// What every kind of cluster has to do, on any number of ranks and nodes: to be called on all ranks together.
#pragma once

#include <gtest/gtest.h>

#include <algorithm>
#include <array>
#include <cstdint>
#include <numeric>
#include <string>
#include <vector>

#include "mpi/cluster.hpp"
#include "mpi/collective_error.hpp"
#include "mpi/shared_memory.hpp"

namespace fedmpi::test {

struct Extremes {
  std::int64_t sum, least;
  std::uint64_t bits;
};
inline void merge(Extremes& into, const Extremes& from) {
  into.sum += from.sum;
  into.least = std::min(into.least, from.least);
  into.bits |= from.bits;
}

// More in a row than there are places for what the leader says.
inline void expect_broadcasts(mpi::Cluster& cluster) {
  for (int i = 0; i < 20; ++i) {
    std::array<int, 5> value{};
    if (cluster.is_root()) value.fill(i);
    cluster.broadcast(value);
    EXPECT_EQ(value[4], i);
  }
}

inline void expect_merges(mpi::Cluster& cluster, int rank, int size) {
  for (int i = 0; i < 20; ++i) {
    Extremes e{rank + i, -rank, std::uint64_t{1} << rank};
    cluster.all_merge<Extremes, merge>(e);
    EXPECT_EQ(e.sum, size * (size - 1) / 2 + size * i);
    EXPECT_EQ(e.least, 1 - size);
    EXPECT_EQ(e.bits, (std::uint64_t{1} << size) - 1);
  }
}

// The vector is every node's own copy, filled before any of its members continues. What crosses from node to node is
// counted, what a node shares is not, nor are structs.
inline void expect_vectors(mpi::Cluster& cluster) {
  for (const std::size_t n : {1u, 16'384u, 2'500'000u}) {
    const mpi::Shared<float> memory(cluster, cluster.leads() ? n : 0);
    cluster.take_traffic();
    for (int i = 1; i <= 3; ++i) {
      int value = cluster.is_root() ? i : 0;
      if (cluster.is_root()) std::iota(memory.mine().begin(), memory.mine().end(), static_cast<float>(i));
      cluster.broadcast(value, memory.of(0));
      EXPECT_EQ(value, i);
      EXPECT_EQ(memory.of(0).front(), static_cast<float>(i));
      EXPECT_EQ(memory.of(0).back(), static_cast<float>(n - 1) + static_cast<float>(i));
      cluster.arrive();  // all have read before it changes
      cluster.release();
    }
    const std::uint64_t others = static_cast<std::uint64_t>(cluster.nodes()) - 1;
    const mpi::Traffic expected = {.down = cluster.is_root() ? 3 * others * n * sizeof(float) : 0, .up = 0};
    EXPECT_EQ(cluster.take_traffic(), expected);
    EXPECT_EQ(cluster.take_traffic(), mpi::Traffic());
  }
}

// One block travels while the next is made.
inline void expect_sums(mpi::Cluster& cluster, int rank) {
  Extremes senders{cluster.leads() ? rank : 0, 0, 0};
  cluster.all_merge<Extremes, merge>(senders);
  if (cluster.nodes() == 1 || !cluster.leads()) return;
  cluster.take_traffic();
  constexpr std::size_t kSize = 30'000;
  const int others = cluster.nodes() - 1;
  std::array<std::vector<std::int64_t>, 2> blocks;
  for (int i = 0; i < 7; ++i) {
    std::vector<std::int64_t>& block = blocks[static_cast<std::size_t>(i) % 2];
    block.assign(kSize, i + rank);
    if (!cluster.is_root()) {
      cluster.send_sum(std::span(block));
      continue;
    }
    cluster.receive_sum(std::span(block));
    for (const std::int64_t x : block) ASSERT_EQ(x, others * i + senders.sum);
  }
  cluster.finish_sum();
  const std::uint64_t bytes = 7 * static_cast<std::uint64_t>(others) * kSize * sizeof(std::int64_t);
  EXPECT_EQ(cluster.take_traffic().up, cluster.is_root() ? bytes : 0);
}

inline void expect_shared_memory(mpi::Cluster& cluster, int rank) {
  const std::size_t mine = rank % 3 == 1 ? 0 : 1000 + static_cast<std::size_t>(rank);
  const mpi::Shared<double> memory(cluster, mine);
  EXPECT_EQ(memory.mine().size(), mine);
  EXPECT_EQ(reinterpret_cast<std::uintptr_t>(memory.mine().data()) % 64, 0u);
  std::fill(memory.mine().begin(), memory.mine().end(), rank);
  cluster.arrive();
  cluster.release();
  for (int m = 0; m < cluster.members(); ++m) {
    const int other = rank - cluster.member() + m;  // the ranks of a node follow one another
    EXPECT_EQ(memory.of(m).size(), other % 3 == 1 ? 0u : 1000u + static_cast<std::size_t>(other));
    for (const double x : memory.of(m)) EXPECT_EQ(x, other);
  }
  cluster.arrive();
  cluster.release();
}

inline void expect_agreement(mpi::Cluster& cluster, int rank, int size) {
  int done = 0;
  cluster.collectively([&] { ++done; });
  EXPECT_EQ(done, 1);
  try {
    cluster.collectively([&] {
      if (rank == size - 1) fail(ExitCode::bad_data, "shard.h5: found {}", 7);
    });
    ADD_FAILURE() << "rank " << rank << " has not heard of the error";
  } catch (const mpi::CollectiveError& error) {
    EXPECT_EQ(error.code(), ExitCode::bad_data);
    EXPECT_EQ(error.what(), "rank " + std::to_string(size - 1) + ": shard.h5: found 7");
  }
}

inline void expect_cluster(mpi::Cluster& cluster, int rank, int size) {
  EXPECT_EQ(cluster.is_root(), rank == 0);
  EXPECT_EQ(cluster.leads(), cluster.member() == 0);
  EXPECT_GE(cluster.cores(), 1);
  EXPECT_EQ(cluster.lost(), 0u);
  expect_broadcasts(cluster);
  expect_merges(cluster, rank, size);
  expect_vectors(cluster);
  expect_sums(cluster, rank);
  expect_shared_memory(cluster, rank);
  expect_agreement(cluster, rank, size);
  expect_merges(cluster, rank, size);
}

}  // namespace fedmpi::test
