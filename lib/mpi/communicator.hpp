// The MPI calls in use, over spans. Rank 0 is the root of all of them. An MPI failure is an Error that names
// the call and where it was made.
#pragma once

#include <mpi.h>

#include <cstdint>
#include <functional>
#include <optional>
#include <source_location>
#include <span>
#include <string>
#include <type_traits>
#include <utility>
#include <vector>

#include "mpi/traffic.hpp"

namespace fedmpi::mpi {

using Where = std::source_location;

template <class T>
MPI_Datatype type_of() {
  if constexpr (std::is_same_v<T, float>)
    return MPI_FLOAT;
  else if constexpr (std::is_same_v<T, double>)
    return MPI_DOUBLE;
  else if constexpr (std::is_same_v<T, std::int32_t>)
    return MPI_INT32_T;
  else if constexpr (std::is_same_v<T, std::uint32_t>)
    return MPI_UINT32_T;
  else if constexpr (std::is_same_v<T, std::int64_t>)
    return MPI_INT64_T;
  else if constexpr (std::is_same_v<T, std::uint64_t>)
    return MPI_UINT64_T;
  else {
    static_assert(std::is_same_v<T, char>, "no MPI type for this element type");
    return MPI_CHAR;
  }
}

class Lifeline;
class RollCall;

class Communicator {
 public:
  explicit Communicator(MPI_Comm comm);  // works on a duplicate
  ~Communicator();
  Communicator(const Communicator&) = delete;
  Communicator& operator=(const Communicator&) = delete;

  int rank() const { return rank_; }
  int size() const { return size_; }
  bool is_root() const { return rank_ == 0; }
  MPI_Comm handle() const { return comm_; }

  // From now on every call asks it while it waits, until it is taken away (null).
  void set_roll_call(RollCall* roll_call) { roll_call_ = roll_call; }

  // What ends its ranks when one is gone; null if nothing does.
  void set_lifeline(Lifeline* lifeline) { lifeline_ = lifeline; }
  Lifeline* lifeline() const { return lifeline_; }

  // Some of its ranks are gone: nothing collective may be done any more, not even at the end.
  // If others do not know of it, the job has to be ended with an exit code when all has been said.
  void abandon(std::optional<int> end_job_with = {}) {
    abandoned_ = true;
    end_job_with_ = end_job_with;
  }
  bool abandoned() const { return abandoned_; }
  std::optional<int> end_job_with() const { return end_job_with_; }

  // On rank 0: the bytes of vectors that were broadcast, reduced to rank 0 or gathered into a given buffer since this
  // was last asked. What else ranks tell one another is small, and not counted.
  Traffic take_traffic() { return std::exchange(traffic_, {}); }

  // From rank 0 to all, in place.
  template <class T>
  void broadcast(std::span<T> values, Where where = Where::current()) {
    if (is_root()) traffic_.down += bytes_of_others(values.size_bytes());
    broadcast(values.data(), values.size(), type_of<T>(), where);
  }
  // A plain struct from rank 0 to all.
  template <class T>
  void broadcast_struct(T& value, Where where = Where::current()) {
    static_assert(std::is_trivially_copyable_v<T>);
    broadcast_bytes(std::as_writable_bytes(std::span(&value, 1)), where);
  }
  void broadcast_bytes(std::span<std::byte> value, Where where = Where::current()) {
    broadcast(value.data(), value.size(), MPI_BYTE, where);
  }
  void broadcast(std::string& text, Where where = Where::current());

  // Element-wise sum over the ranks, in place on rank 0; elsewhere `values` is left as it is.
  template <class T>
  void reduce_sum(std::span<T> values, Where where = Where::current()) {
    if (is_root()) traffic_.up += bytes_of_others(values.size_bytes());
    reduce(values.data(), values.size(), type_of<T>(), MPI_SUM, where);
  }

  // One message of at most 2^31 - 1 elements. What is sent has to stay as it is, and what is expected is not there,
  // until finish().
  template <class T>
  MPI_Request send(std::span<const T> values, int to, Where where = Where::current()) {
    return send(values.data(), values.size(), type_of<T>(), to, where);
  }
  template <class T>
  MPI_Request expect(std::span<T> values, int from, Where where = Where::current()) {
    return expect(values.data(), values.size(), type_of<T>(), from, where);
  }
  void finish(MPI_Request& message, Where where = Where::current()) { complete(message, where); }

  // Element-wise sum or maximum over the ranks, in place on every rank. While it waits, a rank gives its core away.
  template <class T>
  void all_sum(std::span<T> values, Where where = Where::current()) {
    all_reduce(values.data(), values.size(), type_of<T>(), MPI_SUM, where);
  }
  template <class T>
  void all_max(std::span<T> values, Where where = Where::current()) {
    all_reduce(values.data(), values.size(), type_of<T>(), MPI_MAX, where);
  }

  // Merges a plain struct of every rank into one that all receive: `merge(into, from)` has to be associative
  // and commutative. This is where nodes wait for each other's training: while it waits, a rank gives its
  // core away.
  template <class T, void (*merge)(T&, const T&)>
  void all_merge(T& value, Where where = Where::current()) {
    static_assert(std::is_trivially_copyable_v<T>);
    all_merge(std::as_writable_bytes(std::span(&value, 1)), &merge_elements<T, merge>, where);
  }
  void all_merge(std::span<std::byte> value, MPI_User_function* merge, Where where = Where::current());

  // Every rank's values, one rank after the other, on rank 0 (elsewhere: nothing).
  template <class T>
  std::vector<T> gather(std::span<const T> values, Where where = Where::current()) {
    std::vector<int> counts = gather_counts(values.size(), where);
    std::size_t total = 0;
    for (const int c : counts) total += static_cast<std::size_t>(c);
    std::vector<T> all(total);
    gather(values.data(), values.size(), type_of<T>(), all.data(), counts, where);
    return all;
  }
  std::vector<std::string> gather(const std::string& text, Where where = Where::current());
  // The same into a given buffer, with the counts known on rank 0: no allocation, one MPI_Gatherv.
  template <class T>
  void gather(std::span<const T> values, std::span<T> all, const std::vector<int>& counts,
              Where where = Where::current()) {
    for (std::size_t r = 1; is_root() && r < counts.size(); ++r)
      traffic_.up += static_cast<std::size_t>(counts[r]) * sizeof(T);
    gather(values.data(), values.size(), type_of<T>(), all.data(), counts, where);
  }

  // Merging structs as MPI asks for it.
  template <class T, void (*merge)(T&, const T&)>
  static void merge_elements(void* from, void* into, int* n, MPI_Datatype*) {
    for (int i = 0; i < *n; ++i) merge(static_cast<T*>(into)[i], static_cast<const T*>(from)[i]);
  }

 private:
  void broadcast(void* data, std::size_t n, MPI_Datatype type, Where where);
  void reduce(void* data, std::size_t n, MPI_Datatype type, MPI_Op op, Where where);
  MPI_Request send(const void* data, std::size_t n, MPI_Datatype type, int to, Where where);
  MPI_Request expect(void* data, std::size_t n, MPI_Datatype type, int from, Where where);
  void complete(MPI_Request& message, Where where) const;
  void all_reduce(void* data, std::size_t n, MPI_Datatype type, MPI_Op op, Where where);
  std::uint64_t bytes_of_others(std::size_t bytes) const { return static_cast<std::uint64_t>(size_ - 1) * bytes; }
  void gather(const void* data, std::size_t n, MPI_Datatype type, void* all, const std::vector<int>& counts,
              Where where);
  std::vector<int> gather_counts(std::size_t n, Where where);
  void wait(MPI_Request& request, const char* call, Where where) const;  // gives its core away meanwhile
  // One of two forms of a call: one that only returns when it is done, or one that can be waited for.
  template <class Blocking, class Nonblocking>
  void complete(const char* call, Where where, Blocking blocking, Nonblocking nonblocking) const;
  void check(int result, const char* call, Where where) const;

  MPI_Comm comm_ = MPI_COMM_NULL;
  int rank_ = 0;
  int size_ = 1;
  RollCall* roll_call_ = nullptr;
  Lifeline* lifeline_ = nullptr;
  bool abandoned_ = false;
  std::optional<int> end_job_with_;
  Traffic traffic_;
};

// Runs `work`, which makes no MPI call, on every rank. If it throws Error anywhere, every rank throws one
// CollectiveError with the sentences of all the ranks that failed and the highest of their exit codes.
void collectively(Communicator& comm, const std::function<void()>& work);

}  // namespace fedmpi::mpi
