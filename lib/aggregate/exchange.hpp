// How updates travel from the participants to rank 0: their exact sum, their float sum, or each by itself.
#pragma once

#include <cstddef>
#include <memory>
#include <span>

#include "aggregate/aggregator.hpp"
#include "mpi/cluster.hpp"
#include "mpi/communicator.hpp"

namespace fedmpi::aggregate {

// Between begin() and deliver() each thread, again and again, trains a client in its room() and hands the update over
// with take(); threads may do so at the same time.
class Exchange {
 public:
  virtual ~Exchange() = default;

  // Before a round, once rank 0 has the last round's aggregate: `clients` of this rank at most.
  virtual void begin(std::size_t clients) = 0;
  // Where that thread puts its next update. Until then its last one lies there.
  virtual std::span<float> room(std::size_t thread) = 0;
  // The update in that thread's room counts; `weight` is its client's share of the cohort, `largest` the largest
  // magnitude in it, which is finite.
  virtual void take(std::size_t thread, double weight, float largest) = 0;

  // The scale of what is exchanged (see secure/ring.hpp), for exchanges that have one. Once something is encoded the
  // exponent stands until begin(): another asks for the round's training to be done again.
  virtual void set_exponent(int) {}
  virtual bool encoded() const { return false; }
  // Whether updates of that largest magnitude can be exchanged with that exponent.
  virtual bool fits(float, int) const { return true; }

  // On all ranks together, once all have handed over. The aggregate, which the caller may change, on rank 0; nothing
  // elsewhere. `correction` makes up for clients of the cohort that were dropped: the cohort's weight over that of the
  // clients that were taken.
  virtual std::span<float> deliver(double correction) = 0;

  // What so many participants, each on a node of its own, send towards rank 0 for so many clients, together.
  virtual std::size_t bytes_up(std::size_t participants, std::size_t clients) const = 0;
};

// Who exchanges: the ranks, and how many threads train on this one (0: it only aggregates).
struct Place {
  mpi::Communicator& comm;
  mpi::Cluster& cluster;
  std::size_t threads;
};

// Bytes that a rank with so many threads comes to hold for so many clients in a round, beside a room for each thread.
std::size_t exchange_memory(const Kind& kind, std::size_t parameters, std::size_t threads, std::size_t clients);

// On all ranks together, for vectors of `parameters` elements.
std::unique_ptr<Exchange> make_exchange(const Kind& kind, std::size_t parameters, const Place& place);

std::size_t exact_memory(std::size_t parameters, std::size_t threads, std::size_t clients);
std::size_t float_memory(std::size_t parameters);
std::size_t gather_memory(std::size_t parameters, std::size_t threads, std::size_t clients);

std::unique_ptr<Exchange> make_exact_exchange(std::size_t parameters, const Place& place);
std::unique_ptr<Exchange> make_float_exchange(std::size_t parameters, const Place& place);
std::unique_ptr<Exchange> make_gather_exchange(std::size_t parameters, const Place& place,
                                               void (*combine)(MatrixView, std::span<float>));

}  // namespace fedmpi::aggregate
