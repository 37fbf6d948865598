#include "base/thread_pool.hpp"

#include <utility>

namespace fedmpi {

ThreadPool::ThreadPool(std::size_t threads) {
  for (std::size_t worker = 1; worker < threads; ++worker) {
    threads_.emplace_back([this, worker](const std::stop_token& stop) {
      for (std::size_t seen = 0;;) {
        std::unique_lock lock(mutex_);
        if (!wake_.wait(lock, stop, [&] { return generation_ != seen; })) return;
        seen = generation_;
        lock.unlock();
        work(worker);
        lock.lock();
        if (--busy_ == 0) done_.notify_one();
      }
    });
  }
}

void ThreadPool::work(std::size_t worker) {
  try {
    for (std::size_t i; (i = next_.fetch_add(1)) < tasks_;) (*task_)(worker, i);
  } catch (...) {
    const std::lock_guard lock(mutex_);
    if (!failure_) failure_ = std::current_exception();
    next_ = tasks_;
  }
}

void ThreadPool::run(std::size_t tasks, const std::function<void(std::size_t, std::size_t)>& task) {
  {
    const std::lock_guard lock(mutex_);
    task_ = &task;
    tasks_ = tasks;
    next_ = 0;
    busy_ = threads_.size();
    ++generation_;
  }
  wake_.notify_all();
  work(0);
  std::unique_lock lock(mutex_);
  done_.wait(lock, [&] { return busy_ == 0; });
  if (failure_) std::rethrow_exception(std::exchange(failure_, nullptr));
}

}  // namespace fedmpi
