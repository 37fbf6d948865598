// A cluster whose ranks are threads of this process, without MPI: for tests of what goes over a cluster, and of what
// becomes of it when ranks are lost at chosen points.
//
//   test::ThreadRanks ranks(4, {.losses = {{.rank = 2, .call = 7}}});
//   ranks.run([](test::ThreadCluster& cluster) { ... });
#pragma once

#include <algorithm>
#include <array>
#include <condition_variable>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <exception>
#include <functional>
#include <mutex>
#include <optional>
#include <span>
#include <string>
#include <thread>
#include <utility>
#include <vector>

#include "base/error.hpp"
#include "mpi/cluster.hpp"
#include "mpi/collective_error.hpp"

namespace fedmpi::test {

// A participant leaves for good instead of making that call: a broadcast, all_merge or send_sum, counted from 0 on each
// rank.
struct Loss {
  int rank;
  std::size_t call;
};

struct Losses {
  std::vector<Loss> losses = {};
  bool survive = true;  // else a loss is an Error(stopped) of rank 0, which ends them all
};

class ThreadRanks;

// Every rank is a node of its own, so that mpi::Shared is plain memory. Rank 0 waits in each call until every other
// rank has made its part of it or has left, so a loss is found in the same call every time.
class ThreadCluster final : public mpi::Cluster {
 public:
  ThreadCluster(ThreadRanks& ranks, int rank, int size);

  int rank() const { return rank_; }
  int size() const { return size_; }
  std::size_t calls() const { return calls_; }  // that this rank has made so far, as Loss counts them
  [[noreturn]] void leave();                    // this rank is lost from here on; on the thread that runs it

  void arrive() override {}
  void release() override {}
  void send_sum(std::span<std::int64_t> block) override;
  void finish_sum() override {}
  void receive_sum(std::span<std::int64_t> block) override;
  void collectively(const std::function<void()>& work) override;
  mpi::Traffic take_traffic() override { return std::exchange(traffic_, {}); }
  bool survives() const override;
  void look_for_lost() override;

 private:
  void broadcast_bytes(std::span<std::byte> value, std::span<float> vector) override;
  void merge_bytes(std::span<std::byte> value, MPI_User_function* merge, int deadlines) override;
  void begin_call();
  void down(std::span<std::byte> value, std::span<std::byte> vector);
  void up(std::span<const std::byte> said);
  // What that rank said next, on rank 0; none if it has left.
  std::optional<std::vector<std::byte>> said_by(int rank);
  void lose(int rank);
  bool present(int rank) const { return std::find(lost_.begin(), lost_.end(), rank) == lost_.end(); }

  ThreadRanks& ranks_;
  int rank_, size_;
  std::size_t calls_ = 0;
  std::uint64_t broadcasts_ = 0;  // that it has taken part in
  mpi::Traffic traffic_;          // on rank 0
};

class ThreadRanks {
 public:
  explicit ThreadRanks(int ranks, Losses script = {}) : script_(std::move(script)), each_(count(ranks)) {}

  // Runs `body` on all ranks at the same time and returns when all have ended or left. The first error of a rank, in
  // the order of the ranks, is thrown again; it ends the others where they wait.
  void run(const std::function<void(ThreadCluster&)>& body) {
    std::vector<std::exception_ptr> errors(each_.size());
    {
      std::vector<std::jthread> threads;
      for (std::size_t r = 0; r < each_.size(); ++r)
        threads.emplace_back([&, r] {
          try {
            ThreadCluster cluster(*this, static_cast<int>(r), static_cast<int>(each_.size()));
            body(cluster);
          } catch (const Left&) {
          } catch (...) {
            errors[r] = std::current_exception();
            fail_all();
          }
          change([&] { each_[r].left = true; });
        });
    }
    for (const std::exception_ptr& error : errors)
      if (error) std::rethrow_exception(error);
  }

 private:
  friend class ThreadCluster;
  struct Left {};  // no exception that anybody catches
  struct Rank {
    std::optional<std::vector<std::byte>> said;  // and not yet heard by rank 0
    std::uint64_t broadcasts = 0;                // that it has taken part in
    bool left = false;                           // or ended
  };

  static std::size_t count(int ranks) { return static_cast<std::size_t>(ranks); }
  Rank& of(int rank) { return each_[static_cast<std::size_t>(rank)]; }

  template <class Change>
  void change(Change what) {
    {
      const std::lock_guard lock(mutex_);
      what();
    }
    changed_.notify_all();
  }
  // Waits until `ready`, then makes the change. Left when a rank has failed meanwhile; Error when rank 0 has ended.
  template <class Ready, class Change>
  void when(Ready ready, Change what) {
    {
      std::unique_lock lock(mutex_);
      changed_.wait(lock, [&] { return failed_ || each_[0].left || ready(); });
      if (failed_) throw Left();
      if (!ready()) fail(ExitCode::stopped, "rank 0 is gone; what was saved is intact");
      what();
    }
    changed_.notify_all();
  }
  void fail_all() {
    change([&] { failed_ = true; });
  }

  Losses script_;
  std::mutex mutex_;
  std::condition_variable changed_;
  std::vector<Rank> each_;
  std::uint64_t broadcasts_ = 0;               // that rank 0 has begun
  std::span<const std::byte> value_, vector_;  // of the last one, on rank 0
  bool failed_ = false;
};

inline ThreadCluster::ThreadCluster(ThreadRanks& ranks, int rank, int size) : ranks_(ranks), rank_(rank), size_(size) {
  seat_ = {.root = rank == 0, .nodes = size};
}

inline void ThreadCluster::leave() { throw ThreadRanks::Left(); }

inline bool ThreadCluster::survives() const { return ranks_.script_.survive; }

inline void ThreadCluster::begin_call() {
  const std::size_t call = calls_++;
  for (const Loss& loss : ranks_.script_.losses)
    if (loss.rank == rank_ && loss.call == call) leave();
}

inline void ThreadCluster::lose(int rank) {
  if (!ranks_.script_.survive) {
    ranks_.fail_all();
    fail(ExitCode::stopped, "no answer from rank {}", rank);
  }
  lost_.push_back(rank);
}

inline void ThreadCluster::look_for_lost() {
  if (rank_ != 0) return;
  for (int r = 1; r < size_; ++r) {
    bool left = false;
    ranks_.change([&] { left = ranks_.of(r).left; });
    if (left && present(r)) lose(r);
  }
}

inline void ThreadCluster::down(std::span<std::byte> value, std::span<std::byte> vector) {
  ++broadcasts_;
  if (rank_ != 0)
    return ranks_.when([&] { return ranks_.broadcasts_ >= broadcasts_; },
                       [&] {
                         std::copy(ranks_.value_.begin(), ranks_.value_.end(), value.begin());
                         std::copy(ranks_.vector_.begin(), ranks_.vector_.end(), vector.begin());
                         ranks_.of(rank_).broadcasts = broadcasts_;
                       });
  ranks_.change([&] {
    ranks_.value_ = value;
    ranks_.vector_ = vector;
    ranks_.broadcasts_ = broadcasts_;
  });
  for (int r = 1; r < size_; ++r) {
    if (!present(r)) continue;
    bool taken = false;
    ranks_.when([&] { return ranks_.of(r).broadcasts >= broadcasts_ || ranks_.of(r).left; },
                [&] { taken = ranks_.of(r).broadcasts >= broadcasts_; });
    if (taken)
      traffic_.down += vector.size();
    else
      lose(r);
  }
}

inline void ThreadCluster::up(std::span<const std::byte> said) {
  ranks_.when([&] { return !ranks_.of(rank_).said; }, [&] { ranks_.of(rank_).said.emplace(said.begin(), said.end()); });
}

inline std::optional<std::vector<std::byte>> ThreadCluster::said_by(int rank) {
  std::optional<std::vector<std::byte>> said;
  ranks_.when([&] { return ranks_.of(rank).said || ranks_.of(rank).left; },
              [&] { said = std::exchange(ranks_.of(rank).said, std::nullopt); });
  if (!said) lose(rank);
  return said;
}

inline void ThreadCluster::broadcast_bytes(std::span<std::byte> value, std::span<float> vector) {
  begin_call();
  down(value, std::as_writable_bytes(vector));
}

inline void ThreadCluster::merge_bytes(std::span<std::byte> value, MPI_User_function* merge, int /*deadlines*/) {
  begin_call();
  if (rank_ != 0) up(value);
  for (int r = 1; rank_ == 0 && r < size_; ++r) {
    int one = 1;
    if (!present(r)) continue;
    if (auto said = said_by(r)) merge(said->data(), value.data(), &one, nullptr);
  }
  down(value, {});
}

inline void ThreadCluster::send_sum(std::span<std::int64_t> block) {
  begin_call();
  up(std::as_bytes(block));
}

inline void ThreadCluster::receive_sum(std::span<std::int64_t> block) {
  std::fill(block.begin(), block.end(), 0);
  for (int r = 1; r < size_; ++r) {
    if (!present(r)) continue;
    const auto said = said_by(r);
    if (!said) continue;
    traffic_.up += said->size();
    for (std::size_t j = 0; j < block.size(); ++j) {
      std::int64_t term;
      std::memcpy(&term, said->data() + j * sizeof term, sizeof term);
      block[j] += term;
    }
  }
}

inline void ThreadCluster::collectively(const std::function<void()>& work) {
  struct Problem {
    ExitCode code = ExitCode::done;
    std::array<char, 900> sentence{};
  } worst;
  try {
    work();
  } catch (const std::exception& thrown) {
    const Error error = explained(thrown);
    worst.code = error.code();
    const std::string sentence = fmt::format("rank {}: {}", rank_, error.what());
    sentence.copy(worst.sentence.data(), worst.sentence.size() - 1);
  }
  const std::span<std::byte> bytes = std::as_writable_bytes(std::span(&worst, 1));
  if (rank_ != 0) up(bytes);
  for (int r = 1; rank_ == 0 && r < size_; ++r) {
    if (!present(r)) continue;
    const auto said = said_by(r);
    if (!said) continue;
    Problem other;
    std::memcpy(static_cast<void*>(&other), said->data(), sizeof other);
    if (other.code > worst.code) worst = other;
  }
  down(bytes, {});
  if (worst.code != ExitCode::done) throw mpi::CollectiveError(worst.code, worst.sentence.data());
}

}  // namespace fedmpi::test
