// A checkpoint with something in each of its fields.
#pragma once

#include "checkpoint/checkpoint.hpp"
#include "support/examples.hpp"

namespace fedmpi::checkpoint {

inline Checkpoint example(std::uint64_t round = 3) {
  Checkpoint c;
  c.round = round;
  c.seed = 0xFFFFFFFFFFFFFFFFu;
  c.revision = "abc123";
  c.config = "[client]\nlr = 0.1\n";
  c.schema = test::classification(3, 4);
  c.schema.feature_shape = {3, 1};
  c.clients = 100;
  c.examples = 6000;
  c.schema.label_names = {"no", "yes", "perhaps", "unknown"};
  c.roster = "0123456789abcdef";
  c.client_states = {3, 77};
  c.exponents = {-7, 42};
  c.layout.add("dense_1", "kernel", {3, 2});
  c.layout.add("dense_1", "bias", {2});
  c.layout.add("dense_2", "kernel", {2, 4});
  c.parameters = test::random_vector(c.layout.size());
  c.states = {{"algorithm/control", test::random_vector(c.layout.size(), 1.0, 4)},
              {"server/first_moment", test::random_vector(c.layout.size(), 1.0, 2)},
              {"server/second_moment", test::random_vector(c.layout.size(), 1.0, 3)}};
  for (std::uint64_t r = 0; r <= round; ++r) {
    Row row;
    row.round = r;
    row.train_loss = 1.0 / static_cast<double>(r + 1);
    row.clients = 10 + r;
    row.seconds = 0.25;
    c.history.push_back(row);
  }
  return c;
}

inline void write(const Checkpoint& c, const std::string& path) { write(snapshot_of(c), path); }
inline std::string digest(const Checkpoint& c) { return digest(snapshot_of(c)); }

}  // namespace fedmpi::checkpoint
