#include "base/thread_pool.hpp"

#include <gtest/gtest.h>

#include <set>
#include <stdexcept>

namespace fedmpi {
namespace {

class ThreadPoolOf : public testing::TestWithParam<std::size_t> {};
INSTANTIATE_TEST_SUITE_P(Threads, ThreadPoolOf, testing::Values(1, 2, 5), testing::PrintToStringParamName());

TEST_P(ThreadPoolOf, CallsEveryTaskOnce) {
  ThreadPool pool(GetParam());
  EXPECT_EQ(pool.size(), GetParam());
  for (const std::size_t tasks : {0u, 1u, 3u, 1000u}) {
    std::vector<std::atomic<int>> calls(tasks);
    pool.run(tasks, [&](std::size_t worker, std::size_t i) {
      EXPECT_LT(worker, pool.size());
      ++calls[i];
    });
    for (const auto& n : calls) EXPECT_EQ(n, 1);
  }
}

TEST_P(ThreadPoolOf, GivesAWorkerOneTaskAtATime) {
  ThreadPool pool(GetParam());
  std::vector<std::atomic<int>> inside(pool.size());
  std::atomic<bool> overlap = false;
  pool.run(2000, [&](std::size_t worker, std::size_t) {
    if (++inside[worker] != 1) overlap = true;
    --inside[worker];
  });
  EXPECT_FALSE(overlap);
}

TEST_P(ThreadPoolOf, ThrowsWhatATaskThrowsAndGoesOn) {
  ThreadPool pool(GetParam());
  std::atomic<int> done = 0;
  const auto task = [&](std::size_t, std::size_t i) {
    if (i == 3) throw std::runtime_error("task 3");
    std::this_thread::sleep_for(std::chrono::microseconds(100));  // so that task 3 fails long before the last
    ++done;
  };
  EXPECT_THROW(pool.run(100000, task), std::runtime_error);
  EXPECT_LT(done, 99999) << "tasks not yet begun are left out";
  done = 0;
  pool.run(3, task);
  EXPECT_EQ(done, 3);
}

// With two threads, two tasks can wait for one another.
TEST(ThreadPool, RunsTasksAtTheSameTime) {
  ThreadPool pool(2);
  std::mutex mutex;
  std::condition_variable met;
  std::set<std::size_t> workers;
  pool.run(2, [&](std::size_t worker, std::size_t) {
    std::unique_lock lock(mutex);
    workers.insert(worker);
    met.notify_all();
    EXPECT_TRUE(met.wait_for(lock, std::chrono::seconds(20), [&] { return workers.size() == 2; }));
  });
}

}  // namespace
}  // namespace fedmpi
