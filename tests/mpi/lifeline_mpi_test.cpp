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

// Hundredths of what the program has, which a test can wait for; the watcher looks at least as often.
constexpr Lifeline::Times kQuick = {.grace = 0.02, .speaks_every = 0.01, .shortest_patience = 0.5};

// For longer than a lost rank would leave us.
void outlast_the_grace() { std::this_thread::sleep_for(std::chrono::milliseconds(100)); }

TEST(Lifeline, LetsGoOfARankThatHasTakenLeave) {
  Communicator comm(MPI_COMM_WORLD);
  {
    Lifeline lifeline(comm, kQuick);
    lifeline.take_leave();
    if (comm.rank() != comm.size() - 1) outlast_the_grace();  // the last one is gone meanwhile
  }
  expect_all_alive(comm);
}

TEST(Lifeline, LetsRankZeroOutliveTheOthersIfTold) {
  Communicator comm(MPI_COMM_WORLD);
  {
    Lifeline lifeline(comm, kQuick);
    lifeline.outlive_participants(true);
    std::int32_t ready = 1;
    comm.all_sum(std::span(&ready, 1));
    if (comm.is_root()) {  // the others, which take no leave, are lost
      while (lifeline.lost().size() + 1 < static_cast<std::size_t>(comm.size()))
        std::this_thread::sleep_for(std::chrono::milliseconds(1));
      outlast_the_grace();
      lifeline.take_leave();
    }
  }
  expect_all_alive(comm);
}

// For longer than a silent rank would leave us.
TEST(Lifeline, HearsThatTheOthersContinue) {
  Communicator comm(MPI_COMM_WORLD);
  if (comm.size() == 1) return;
  Lifeline lifeline(comm, kQuick);
  lifeline.give_signs_of_life(kQuick.shortest_patience);
  std::this_thread::sleep_for(std::chrono::milliseconds(800));
  lifeline.take_leave();
  expect_all_alive(comm);
}

TEST(Lifeline, ExpectsNothingAnyMoreIfTold) {
  Communicator comm(MPI_COMM_WORLD);
  if (comm.size() == 1) return;
  Lifeline lifeline(comm, kQuick);
  if (comm.is_root()) {
    lifeline.give_signs_of_life(kQuick.shortest_patience);
    lifeline.expect_signs_of_life(false);
    std::this_thread::sleep_for(std::chrono::milliseconds(800));
  }
  expect_all_alive(comm);
  lifeline.take_leave();
}

// A rank that says what no rank says ends nobody: of what was once taken for the exit code 0 or 7 as little as of
// others.
TEST(Lifeline, IgnoresWhatItDoesNotKnow) {
  Communicator comm(MPI_COMM_WORLD);
  if (comm.size() == 1) return;
  if (comm.is_root()) {
    Lifeline lifeline(comm, kQuick);
    lifeline.outlive_participants(true);
    // They are lost after what they said was heard.
    while (lifeline.lost().size() + 1 < static_cast<std::size_t>(comm.size()))
      std::this_thread::sleep_for(std::chrono::milliseconds(1));
    lifeline.take_leave();
  } else {
    const std::vector<Connection> connections = connect_with_root(comm);
    ASSERT_EQ(connections.size(), 1u);
    for (const int word : {0, 7, 75, 253, 254, 255}) {
      const unsigned char said[] = {static_cast<unsigned char>(word), 0};
      EXPECT_EQ(write(connections[0].socket, said, sizeof said), static_cast<ssize_t>(sizeof said));
    }
    close_all(connections);
  }
  expect_all_alive(comm);
}

}  // namespace
}  // namespace fedmpi::mpi
