// Point to point, over a link that is slow and with ranks that stop in the middle: this program takes the place of some
// of MPI's functions.
#include "mpi/star.hpp"

#include <gtest/gtest.h>
#include <mpi.h>

#include <algorithm>
#include <chrono>
#include <functional>
#include <map>
#include <memory>
#include <span>
#include <string>
#include <vector>

#include "support/expect_error.hpp"
#include "support/gate.hpp"

namespace {

using Clock = std::chrono::steady_clock;

constexpr int kLarge = 1 << 20;  // bytes of a message that is a block of a vector

std::chrono::milliseconds time_of_block{0};         // that the link needs for one, at least
std::map<MPI_Request, Clock::time_point> arrivals;  // of blocks that are on their way
std::function<void()> before_block = [] {};         // on a rank that receives

}  // namespace

extern "C" int MPI_Isend(const void* data, int n, MPI_Datatype type, int to, int tag, MPI_Comm comm,
                         MPI_Request* request) {
  const int result = PMPI_Isend(data, n, type, to, tag, comm, request);
  if (n >= kLarge) arrivals[*request] = Clock::now() + time_of_block;
  return result;
}

extern "C" int MPI_Irecv(void* data, int n, MPI_Datatype type, int from, int tag, MPI_Comm comm, MPI_Request* request) {
  if (n >= kLarge) before_block();
  return PMPI_Irecv(data, n, type, from, tag, comm, request);
}

extern "C" int MPI_Test(MPI_Request* request, int* done, MPI_Status* status) {
  const auto block = arrivals.find(*request);
  if (block != arrivals.end() && Clock::now() < block->second) {
    int really = 0;
    *done = 0;
    return PMPI_Request_get_status(*request, &really, MPI_STATUS_IGNORE);
  }
  const MPI_Request asked = *request;
  const int result = PMPI_Test(request, done, status);
  if (*done != 0) arrivals.erase(asked);
  return result;
}

namespace fedmpi::mpi {
namespace {

void add(int& into, const int& from) { into += from; }

class Stars : public testing::Test {
 protected:
  void SetUp() override {
    if (comm_.size() == 1) GTEST_SKIP() << "for several ranks";
  }
  void TearDown() override {
    time_of_block = {};
    before_block = [] {};
    arrivals.clear();
  }

  Communicator comm_{MPI_COMM_WORLD};
  const test::Gate gate_;
  const int last_ = comm_.size() - 1;
  bool stops() const { return comm_.rank() == last_; }
};

float value_at(std::size_t j) { return static_cast<float>(j % 1'000'003); }

std::vector<float> vector_of(std::size_t bytes, const Communicator& comm) {
  std::vector<float> values(bytes / sizeof(float));
  for (std::size_t j = 0; comm.is_root() && j < values.size(); ++j) values[j] = value_at(j);
  return values;
}

void expect_whole(const std::vector<float>& values) {
  for (std::size_t j = 0; j < values.size(); j += 100'003) ASSERT_EQ(values[j], value_at(j));
  EXPECT_EQ(values.back(), value_at(values.size() - 1));
}

// A quarter of a gibibyte, of which each block needs a small part of the deadline, and the whole more than twice as
// long as that.
TEST_F(Stars, LoseNoRankThatABlockReachesInTime) {
  constexpr double kDeadline = 2.0;
  time_of_block = std::chrono::milliseconds(150);
  std::unique_ptr<Cluster> star = make_cluster(comm_, false, {.deadline = kDeadline, .survive = true});
  std::vector<float> values = vector_of(std::size_t{1} << 28, comm_);
  int value = comm_.rank();
  const auto start = Clock::now();
  star->broadcast(value, values);
  const double seconds = std::chrono::duration<double>(Clock::now() - start).count();
  EXPECT_EQ(value, 0);
  expect_whole(values);
  EXPECT_EQ(star->lost(), 0u);
  EXPECT_GT(seconds, comm_.is_root() ? 2 * kDeadline : 0.0) << "the link of this test is slow";
  value = 1;
  star->all_merge<int, add>(value);
  EXPECT_EQ(value, comm_.size());
}

// The last rank takes some blocks and then no more. (It is not killed, since no session says that it may be.)
TEST_F(Stars, LoseARankThatStopsInTheMiddle) {
  std::unique_ptr<Cluster> star = make_cluster(comm_, false, {.deadline = 0.5, .survive = true});
  static std::vector<float> values = vector_of(std::size_t{1} << 26, comm_);  // MPI may use it after rank 0 gave up
  int value = comm_.rank(), blocks = 0;
  if (stops())
    before_block = [&] {
      if (++blocks == 5) gate_.stand();
    };
  if (stops()) {
    test::expect_error(ExitCode::stopped, {"rank 0 continues without rank " + std::to_string(last_)},
                       [&] { star->broadcast(value, values); });
    EXPECT_TRUE(comm_.abandoned());
    EXPECT_LT(blocks, 16);
  } else {
    star->broadcast(value, values);
    expect_whole(values);
    value = 1;
    star->all_merge<int, add>(value);
    EXPECT_EQ(value, comm_.size() - 1) << "without it";
  }
  comm_.abandon();  // it is not the same for all any more
  if (!comm_.is_root()) return;
  ASSERT_EQ(star->lost(), 1u);
  EXPECT_EQ(star->lost(0), last_);
  EXPECT_EQ(star->take_traffic().up, 0u);
  gate_.open(last_);
}

// A sum without the rank that has nothing to say; it is wrong, and whoever asked sees that from lost().
TEST_F(Stars, LoseARankThatSendsNoSum) {
  std::unique_ptr<Cluster> star = make_cluster(comm_, false, {.deadline = 0.5, .survive = true});
  static std::vector<std::int64_t> block(1'000'000, comm_.rank());
  if (comm_.is_root()) {
    star->receive_sum(block);
    EXPECT_EQ(block.back(), last_ * (last_ - 1) / 2);
    EXPECT_EQ(star->lost(), 1u);
    EXPECT_EQ(star->take_traffic().up, static_cast<std::uint64_t>(last_ - 1) * block.size() * sizeof(std::int64_t));
    gate_.open(last_);
  } else if (stops()) {
    gate_.stand();
    test::expect_error(ExitCode::stopped, {"rank 0 continues without rank "}, [&] { star->send_sum(block); });
  } else {
    star->send_sum(block);
  }
  comm_.abandon();
}

}  // namespace
}  // namespace fedmpi::mpi
