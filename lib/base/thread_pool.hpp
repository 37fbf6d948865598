// Threads that live as long as the run and share out numbered tasks.
#pragma once

#include <atomic>
#include <condition_variable>
#include <cstddef>
#include <exception>
#include <functional>
#include <mutex>
#include <thread>
#include <vector>

namespace fedmpi {

class ThreadPool {
 public:
  explicit ThreadPool(std::size_t threads);  // the caller's thread counts as worker 0
  ThreadPool(const ThreadPool&) = delete;
  ThreadPool& operator=(const ThreadPool&) = delete;

  std::size_t size() const { return threads_.size() + 1; }

  // Calls task(worker, i) once for every i < tasks, worker < size() being the thread's own number, and
  // returns when all are done. The first exception of a task is thrown here, and tasks not yet begun are left
  // out.
  void run(std::size_t tasks, const std::function<void(std::size_t worker, std::size_t i)>& task);

 private:
  void work(std::size_t worker);

  std::mutex mutex_;
  std::condition_variable_any wake_;
  std::condition_variable done_;
  const std::function<void(std::size_t, std::size_t)>* task_ = nullptr;
  std::size_t tasks_ = 0, busy_ = 0, generation_ = 0;
  std::atomic<std::size_t> next_{0};
  std::exception_ptr failure_;
  std::vector<std::jthread> threads_;  // last, so that they are joined before anything they use is gone
};

}  // namespace fedmpi
