// How the clients' messages travel from the participants to rank 0: their exact sum, their float sum, or each by
// itself. A message is the update and what a method sends beside it, one tensor of a layout each.
#pragma once

#include <cstddef>
#include <memory>
#include <span>

#include "aggregate/aggregator.hpp"
#include "base/layout.hpp"
#include "mpi/cluster.hpp"
#include "mpi/communicator.hpp"
#include "secure/scale.hpp"

namespace fedmpi::aggregate {

// Between begin() and deliver() each thread, again and again, trains a client in its room() and hands the message over
// with take(); threads may do so at the same time.
class Exchange {
 public:
  virtual ~Exchange() = default;

  // Before a round, once rank 0 has the last round's aggregate: `clients` of this rank at most.
  virtual void begin(std::size_t clients) = 0;
  // Where that thread puts its next message. Until then its last one lies there.
  virtual std::span<float> room(std::size_t thread) = 0;
  // The message in that thread's room counts; `weight` is its client's share of the round's denominator, `largest` the
  // largest magnitudes in it, which are finite.
  virtual void take(std::size_t thread, double weight, const secure::Largest& largest) = 0;

  // The scale of what is exchanged, for exchanges that have one. Once something is encoded the scale stands until
  // begin(): another asks for the round's training to be done again.
  virtual void set_scale(const secure::Scale&) {}
  virtual bool encoded() const { return false; }
  virtual bool has_scale() const { return false; }

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
std::size_t exchange_memory(const Kind& kind, const Layout& message, std::size_t threads, std::size_t clients);

// On all ranks together. Of the tensors of the message the first is the update. Error(usage) where there are others and
// the kind combines individual updates.
std::unique_ptr<Exchange> make_exchange(const Kind& kind, const Layout& message, const Place& place);
void check_exchange(const Kind& kind, const Layout& message);  // that Error

std::size_t exact_memory(const Layout& message, std::size_t threads, std::size_t clients);
std::size_t float_memory(const Layout& message);
std::size_t gather_memory(const Layout& message, std::size_t threads, std::size_t clients);

std::unique_ptr<Exchange> make_exact_exchange(const Layout& message, const Place& place);
std::unique_ptr<Exchange> make_float_exchange(const Layout& message, const Place& place);
std::unique_ptr<Exchange> make_gather_exchange(const Layout& message, const Place& place,
                                               void (*combine)(MatrixView, std::span<float>));

}  // namespace fedmpi::aggregate
