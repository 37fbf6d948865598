#include "mpi/process.hpp"

#include <gtest/gtest.h>
#include <signal.h>
#include <sys/wait.h>
#include <unistd.h>

#include <utility>

namespace fedmpi::mpi {
namespace {

// A child that only waits to be killed, and what it says of itself.
class Child {
 public:
  Child() {
    int ends[2];
    EXPECT_EQ(pipe(ends), 0);
    number_ = fork();
    if (number_ == 0) {
      const Process me = Process::self();
      if (write(ends[1], &me, sizeof me) != sizeof me) _exit(1);
      for (;;) pause();
    }
    EXPECT_EQ(read(ends[0], &process, sizeof process), static_cast<ssize_t>(sizeof process));
    close(ends[0]);
    close(ends[1]);
  }
  ~Child() {
    if (number_ == 0) return;
    kill(number_, SIGKILL);
    waitpid(number_, nullptr, 0);
  }
  Child(const Child&) = delete;
  Child& operator=(const Child&) = delete;

  bool was_killed() {  // once it was said to be
    int status = 0;
    const bool ended = waitpid(std::exchange(number_, 0), &status, 0) > 0;
    return ended && WIFSIGNALED(status) && WTERMSIG(status) == SIGKILL;
  }
  bool runs() const { return waitpid(number_, nullptr, WNOHANG) == 0; }

  Process process;

 private:
  pid_t number_ = 0;
};

TEST(Process, IsKilledWhereNumbersMeanTheSame) {
  Child child;
  EXPECT_TRUE(child.process.counts_like(Process::self()));
  EXPECT_TRUE(kill_if_in_reach(child.process));
  EXPECT_TRUE(child.was_killed());
}

// Whatever its host is called.
TEST(Process, IsLeftAloneWhereNumbersMeanOtherThings) {
  const Child child;
  Process elsewhere = child.process, contained = child.process, unknown = child.process;
  elsewhere.boot[0] = elsewhere.boot[0] == 'a' ? 'b' : 'a';
  ++contained.space;
  unknown.boot = {};
  for (const Process& other : {elsewhere, contained, unknown}) {
    EXPECT_FALSE(other.counts_like(Process::self()));
    EXPECT_FALSE(kill_if_in_reach(other));
  }
  EXPECT_TRUE(child.runs());
}

// Its number has been given to another process since.
TEST(Process, IsNotTakenForAnOlderOneOfItsNumber) {
  const Child child;
  Process before = child.process;
  --before.started;
  EXPECT_TRUE(kill_if_in_reach(before)) << "it is known not to run any more";
  EXPECT_TRUE(child.runs());
}

TEST(Process, DoesNotKillItself) { EXPECT_TRUE(kill_if_in_reach(Process::self())); }

}  // namespace
}  // namespace fedmpi::mpi
