#include "mpi/doorbell.hpp"

#include <linux/futex.h>
#include <sched.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <algorithm>
#include <ctime>

namespace fedmpi::mpi {

namespace {

using Clock = std::chrono::steady_clock;

constexpr auto kYielding = std::chrono::microseconds(200);  // then a system call to sleep no longer matters
constexpr auto kLongestSleep = std::chrono::milliseconds(100);

void pause() {
#if defined(__x86_64__)
  __builtin_ia32_pause();
#endif
}

// std::atomic::wait cannot do this: it only wakes threads of its own process.
void sleep_while(std::atomic<std::uint32_t>& word, std::uint32_t value, Clock::duration longest) {
  const auto ns = std::chrono::duration_cast<std::chrono::nanoseconds>(longest).count();
  const std::timespec limit{static_cast<std::time_t>(ns / 1'000'000'000), static_cast<long>(ns % 1'000'000'000)};
  syscall(SYS_futex, &word, FUTEX_WAIT, value, &limit, nullptr, 0);
}

}  // namespace

bool Doorbell::rung(std::uint32_t count) const {
  return static_cast<std::int32_t>(rings_.load(std::memory_order_acquire) - count) >= 0;  // it may wrap around
}

void Doorbell::ring() {
  rings_.fetch_add(1);
  if (sleepers_.load() > 0) syscall(SYS_futex, &rings_, FUTEX_WAKE, INT32_MAX, nullptr, nullptr, 0);
}

bool Doorbell::wait(std::uint32_t count, int looks, Time deadline) {
  for (int i = 0; i < looks; ++i) {
    if (rung(count)) return true;
    pause();
  }
  for (const auto start = Clock::now(); Clock::now() - start < kYielding; sched_yield())
    if (rung(count)) return true;
  while (!rung(count)) {
    const auto now = Clock::now();
    if (now >= deadline) return false;
    sleepers_.fetch_add(1);
    const std::uint32_t seen = rings_.load();
    if (!rung(count)) sleep_while(rings_, seen, std::min<Clock::duration>(deadline - now, kLongestSleep));
    sleepers_.fetch_sub(1);
  }
  return true;
}

}  // namespace fedmpi::mpi
