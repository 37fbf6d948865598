#include "mpi/lifeline.hpp"

#include <gtest/gtest.h>
#include <sys/resource.h>
#include <unistd.h>

#include <chrono>
#include <cstdint>
#include <optional>
#include <span>
#include <thread>
#include <vector>

#include "mpi/connections.hpp"

namespace fedmpi::mpi {
namespace {

void close_all(const std::vector<Connection>& connections) {
  for (const Connection& c : connections) close(c.socket);
}

void expect_all_alive(Communicator& comm) {
  std::int32_t alive = 1;
  comm.all_sum(std::span(&alive, 1));
  EXPECT_EQ(alive, comm.size());
}

TEST(Connections, LeadFromEveryRankToRankZero) {
  Communicator comm(MPI_COMM_WORLD);
  const std::vector<Connection> connections = connect_with_root(comm);
  ASSERT_EQ(connections.size(), comm.is_root() ? static_cast<std::size_t>(comm.size()) - 1 : 1);
  for (std::size_t i = 0; i < connections.size(); ++i) {
    EXPECT_EQ(connections[i].rank, comm.is_root() ? static_cast<int>(i) + 1 : 0);
    EXPECT_FALSE(connections[i].host.empty());
    const char rank = static_cast<char>(comm.rank());
    EXPECT_EQ(write(connections[i].socket, &rank, 1), 1);
  }
  for (const Connection& c : connections) {
    bool broken = false;
    std::optional<char> said;
    while (!said && !broken) said = received<char>(c.socket, broken);
    EXPECT_EQ(said, static_cast<char>(c.rank));
  }
  close_all(connections);
}

TEST(Connections, LeaveOutARankThatCannotConnect) {
  Communicator comm(MPI_COMM_WORLD);
  if (comm.size() == 1) return;
  const bool last = comm.rank() == comm.size() - 1;
  rlimit before;
  getrlimit(RLIMIT_NOFILE, &before);
  if (last) {
    const rlimit none = {0, before.rlim_max};
    setrlimit(RLIMIT_NOFILE, &none);
  }
  const std::vector<Connection> connections = connect_with_root(comm);
  setrlimit(RLIMIT_NOFILE, &before);
  const std::size_t others = static_cast<std::size_t>(comm.size()) - 2;
  EXPECT_EQ(connections.size(), comm.is_root() ? others : last ? 0 : 1);
  close_all(connections);
}

TEST(Lifeline, LetsGoOfARankThatHasTakenLeave) {
  Communicator comm(MPI_COMM_WORLD);
  {
    Lifeline lifeline(comm);
    if (comm.rank() == comm.size() - 1) {
      lifeline.take_leave();
    } else {  // for longer than a lost rank would leave us
      std::this_thread::sleep_for(std::chrono::milliseconds(2500));
      lifeline.take_leave();
    }
  }
  expect_all_alive(comm);
}

TEST(Lifeline, LetsRankZeroOutliveTheOthersIfTold) {
  Communicator comm(MPI_COMM_WORLD);
  {
    Lifeline lifeline(comm);
    lifeline.outlive_participants(true);
    std::int32_t ready = 1;
    comm.all_sum(std::span(&ready, 1));
    if (comm.is_root()) std::this_thread::sleep_for(std::chrono::milliseconds(2500));
    if (comm.is_root()) lifeline.take_leave();  // the others, who do not, are lost
  }
  expect_all_alive(comm);
}

// For longer than a silent rank would leave us.
TEST(Lifeline, HearsThatTheOthersGoOn) {
  Communicator comm(MPI_COMM_WORLD);
  if (comm.size() == 1) return;
  Lifeline lifeline(comm);
  lifeline.give_signs_of_life(1.0);
  std::this_thread::sleep_for(std::chrono::milliseconds(6500));
  lifeline.take_leave();
  expect_all_alive(comm);
}

TEST(Lifeline, ExpectsNothingAnyMoreIfTold) {
  Communicator comm(MPI_COMM_WORLD);
  if (comm.size() == 1) return;
  Lifeline lifeline(comm);
  if (comm.is_root()) {
    lifeline.give_signs_of_life(1.0);
    lifeline.expect_signs_of_life(false);
    std::this_thread::sleep_for(std::chrono::milliseconds(6500));
  }
  expect_all_alive(comm);
  lifeline.take_leave();
}

}  // namespace
}  // namespace fedmpi::mpi
