#include "mpi/communicator.hpp"

#include <gtest/gtest.h>

#include <algorithm>
#include <numeric>
#include <stdexcept>

#include "mpi/collective_error.hpp"

namespace fedmpi::mpi {
namespace {

class Communication : public testing::Test {
 protected:
  int sum_of_ranks() const { return size_ * (size_ - 1) / 2; }

  Communicator comm_{MPI_COMM_WORLD};
  int rank_ = comm_.rank(), size_ = comm_.size();
};

template <class T>
class Elements : public testing::Test {};
using ElementTypes = testing::Types<float, double, std::int32_t, std::uint32_t, std::int64_t, std::uint64_t>;
TYPED_TEST_SUITE(Elements, ElementTypes);

TYPED_TEST(Elements, TravelAndAddUp) {
  using T = TypeParam;
  Communicator comm(MPI_COMM_WORLD);
  const T one = static_cast<T>(comm.rank() + 1), n = static_cast<T>(comm.size());
  const T sum = n * (n + 1) / 2;

  std::vector<T> values = {one, 10 * one};
  comm.broadcast(std::span(values));
  EXPECT_EQ(values, (std::vector<T>{1, 10}));

  values = {one, 10 * one};
  comm.reduce_sum(std::span(values));
  const std::vector<T> reduced = {sum, 10 * sum}, mine = {one, 10 * one};
  EXPECT_EQ(values, comm.is_root() ? reduced : mine) << "elsewhere, values stay";

  values = mine;
  comm.all_sum(std::span(values));
  EXPECT_EQ(values, reduced);

  values = mine;
  comm.all_max(std::span(values));
  EXPECT_EQ(values, (std::vector<T>{n, 10 * n}));
}

TEST_F(Communication, KnowsItsRanks) {
  int rank = -1, size = -1;
  MPI_Comm_rank(MPI_COMM_WORLD, &rank);
  MPI_Comm_size(MPI_COMM_WORLD, &size);
  EXPECT_EQ(rank_, rank);
  EXPECT_EQ(size_, size);
  EXPECT_EQ(comm_.is_root(), rank == 0);
}

TEST_F(Communication, BroadcastsTextAndStructs) {
  std::string text = comm_.is_root() ? "line one\nline two" : "something longer than what will arrive here";
  comm_.broadcast(text);
  EXPECT_EQ(text, "line one\nline two");
  text = comm_.is_root() ? "" : "x";
  comm_.broadcast(text);
  EXPECT_EQ(text, "");
  struct {
    double x;
    std::uint64_t n;
  } pair{rank_ + 0.5, static_cast<std::uint64_t>(rank_ + 7)};
  comm_.broadcast_struct(pair);
  EXPECT_EQ(pair.x, 0.5);
  EXPECT_EQ(pair.n, 7u);
}

TEST_F(Communication, BroadcastsAndReducesNothing) {
  std::vector<float> none;
  comm_.broadcast(std::span(none));
  comm_.reduce_sum(std::span(none));
  comm_.all_sum(std::span(none));
  EXPECT_TRUE(comm_.gather(std::span<const float>(none)).empty());
}

// Rank r has r values, so rank 0 has none.
TEST_F(Communication, GathersUnequalCounts) {
  const std::vector<std::uint64_t> mine(static_cast<std::size_t>(rank_), static_cast<std::uint64_t>(rank_));
  const std::vector<std::uint64_t> all = comm_.gather(std::span<const std::uint64_t>(mine));
  std::vector<std::uint64_t> expected;
  for (int r = 0; r < size_ && comm_.is_root(); ++r)
    expected.insert(expected.end(), static_cast<std::size_t>(r), static_cast<std::uint64_t>(r));
  EXPECT_EQ(all, expected);

  std::vector<int> counts(comm_.is_root() ? static_cast<std::size_t>(size_) : 0);
  std::iota(counts.begin(), counts.end(), 0);
  std::vector<std::uint64_t> buffer(comm_.is_root() ? static_cast<std::size_t>(sum_of_ranks()) : 0);
  comm_.gather(std::span<const std::uint64_t>(mine), std::span(buffer), counts);
  EXPECT_EQ(buffer, expected);
}

TEST_F(Communication, GathersTexts) {
  const std::vector<std::string> all = comm_.gather(std::string(static_cast<std::size_t>(rank_ % 2 * 3), 'x'));
  std::vector<std::string> expected;
  for (int r = 0; r < size_ && comm_.is_root(); ++r) expected.emplace_back(r % 2 == 1 ? "xxx" : "");
  EXPECT_EQ(all, expected);
}

struct Extremes {
  std::int64_t sum, least;
  std::uint64_t bits;
};
void merge(Extremes& into, const Extremes& from) {
  into.sum += from.sum;
  into.least = std::min(into.least, from.least);
  into.bits |= from.bits;
}

TEST_F(Communication, MergesStructsOnAllRanks) {
  for (int i = 0; i < 3; ++i) {
    Extremes extremes{rank_, -rank_, std::uint64_t{1} << rank_};
    comm_.all_merge<Extremes, merge>(extremes);
    EXPECT_EQ(extremes.sum, sum_of_ranks());
    EXPECT_EQ(extremes.least, 1 - size_);
    EXPECT_EQ(extremes.bits, (std::uint64_t{1} << size_) - 1);
  }
}

// The error that every rank gets when those that `fails` names throw; all ranks go on together afterwards.
template <class Fails>
CollectiveError collective_error(Communicator& comm, Fails fails) {
  CollectiveError found(ExitCode::done, "no error");
  try {
    collectively(comm, [&] { fails(comm.rank()); });
  } catch (const CollectiveError& error) {
    found = error;
  }
  std::int32_t ranks = 1;
  comm.all_sum(std::span(&ranks, 1));
  EXPECT_EQ(ranks, comm.size());
  return found;
}

TEST_F(Communication, SucceedsWhereNoRankFails) {
  int done = 0;
  collectively(comm_, [&] { ++done; });
  EXPECT_EQ(done, 1);
}

TEST_F(Communication, FailsOnAllRanksWhereOneFails) {
  for (const int culprit : {0, size_ - 1}) {
    const CollectiveError error = collective_error(comm_, [&](int rank) {
      if (rank == culprit) fail(ExitCode::bad_data, "shard.h5: /labels: found {}", 7);
    });
    EXPECT_EQ(error.code(), ExitCode::bad_data);
    EXPECT_EQ(error.what(), fmt::format("rank {}: shard.h5: /labels: found 7", culprit));
  }
}

TEST_F(Communication, NamesEveryRankThatFailsAndTheHighestCode) {
  const CollectiveError error = collective_error(comm_, [&](int rank) {
    if (rank % 2 == 0) fail(rank == 0 ? ExitCode::usage : ExitCode::io, "of {}", rank);
  });
  std::string expected = "rank 0: of 0";
  for (int r = 2; r < size_; r += 2) expected += fmt::format("\nrank {}: of {}", r, r);
  EXPECT_EQ(error.what(), expected);
  EXPECT_EQ(error.code(), size_ > 2 ? ExitCode::io : ExitCode::usage);
}

TEST_F(Communication, SaysOnceWhatAllRanksSay) {
  const CollectiveError error = collective_error(comm_, [](int) { fail(ExitCode::usage, "the same"); });
  EXPECT_STREQ(error.what(), "rank 0: the same");
}

}  // namespace
}  // namespace fedmpi::mpi
