// How updates travel from the participants to rank 0: the sum by MPI_Reduce, or individual updates by
// MPI_Gather.
#pragma once

#include <cstddef>
#include <memory>
#include <span>

#include "aggregate/aggregator.hpp"
#include "mpi/communicator.hpp"

namespace fedmpi::aggregate {

class Exchange {
 public:
  virtual ~Exchange() = default;

  // Before a round: `clients` of this rank at most, encoded with `exponent` (see secure/ring.hpp).
  virtual void begin(std::size_t clients, int exponent) = 0;
  // Whether updates of that largest magnitude may be added with that exponent.
  virtual bool fits(float, int) const { return true; }
  // Whether an update of that largest magnitude must not be added at all.
  virtual bool overflows(float, int) const { return false; }
  // Takes in one client's finite update; `weight` is its share of the cohort. Called from several threads.
  virtual void add(std::span<const float> update, double weight) = 0;
  // On all ranks together. Writes the aggregate to `result` on rank 0. `correction` makes up for clients of
  // the cohort that were dropped: the cohort's weight over that of the clients that were added.
  virtual void deliver(mpi::Communicator& comm, double correction, std::span<float> result) = 0;

  // What so many participants send to rank 0 for so many clients, together.
  virtual std::size_t bytes_up(std::size_t participants, std::size_t clients) const = 0;
  virtual std::size_t memory(std::size_t clients) const = 0;  // bytes on a participant with that many clients
};

std::unique_ptr<Exchange> make_exchange(const Kind& kind, std::size_t parameters);

}  // namespace fedmpi::aggregate
