// What the clients of a participant keep between rounds: control variates, residuals, personal models. A round is a
// transaction: what a client is to keep counts only when the round does, and is forgotten when it is trained again or
// dropped. Nothing of it ever leaves its participant, and only clients that have taken part cost memory.
#pragma once

#include <cstdint>
#include <map>
#include <mutex>
#include <span>
#include <string>
#include <unordered_map>
#include <vector>

#include "base/layout.hpp"
#include "base/vector.hpp"
#include "data/dataset.hpp"

namespace fedmpi::client {

// Whose states, together: what a checkpoint knows of them. A sum over clients, so that it does not depend on who hosts
// whom.
struct StatesSum {
  std::uint64_t clients = 0, checksum = 0;
  bool operator==(const StatesSum&) const = default;
};

class States {
 public:
  explicit States(Layout kept) : layout_(std::move(kept)), zeros_(layout_.size()) {}

  bool none() const { return layout_.size() == 0; }  // clients keep nothing
  const Layout& layout() const { return layout_; }

  // As it has counted so far; zeros at first.
  std::span<const float> of(data::ClientId id) const;
  // What it will be if the round counts, to be filled by whoever trains the client. Threads may call this at the same
  // time, each for a client of its own.
  std::span<float> next(data::ClientId id);
  void forget(data::ClientId id);  // what next() gave for that client
  void forget();                   // all that next() gave
  void keep();                     // the round counts

  StatesSum sum() const;
  // Sets the state of a client, as it was saved.
  std::span<float> restore(data::ClientId id);
  void drop_all() { kept_.clear(); }
  // The clients that keep something, of first … end-1, in ascending order.
  std::vector<data::ClientId> clients(data::ClientId first, data::ClientId end) const;
  std::size_t memory() const;  // bytes

 private:
  Layout layout_;
  Vector zeros_;
  std::unordered_map<data::ClientId, Vector> kept_, next_;
  std::vector<Vector> spare_;  // of earlier rounds, to be used again
  mutable std::mutex mutex_;   // of next_ and spare_
};

}  // namespace fedmpi::client
