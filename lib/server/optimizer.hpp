// What rank 0 does with the aggregated update. It is taken as the negative of a gradient: Reddi et al. 2020,
// "Adaptive Federated Optimization", algorithm 2.
#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "base/vector.hpp"

namespace fedmpi::server {

struct Options {
  std::string optimizer = "sgd";
  std::optional<double> lr = {};  // η; none = the default of the optimizer
  double momentum = 0.9;          // momentum: β
  double beta1 = 0.9;             // adam
  double beta2 = 0.99;            // adam
  double epsilon = 1e-3;          // adam: τ, added to the root of the second moment
};

// A vector, as long as the parameters, that is kept between rounds and saved with them as server/<name>.
struct State {
  std::string name;
  Vector* values;
};

class Optimizer {
 public:
  virtual ~Optimizer() = default;
  // parameters ← step of round `round` (from 1) along `update`; the update may be used as scratch.
  virtual void step(std::uint64_t round, std::span<float> update, std::span<float> parameters) = 0;
  virtual std::vector<State> state() { return {}; }
};

// One row and one file for each optimizer: see lib/README.md.
struct Kind {
  const char* name;
  const char* summary;
  const char* reads;  // options: see Choice in base/options.hpp
  double lr;          // where none is given
  std::unique_ptr<Optimizer> (*make)(const Options& options, std::size_t parameters);
};
std::span<const Kind> optimizers();
std::unique_ptr<Optimizer> make(const Options& options, std::size_t parameters);  // Error(usage)

std::unique_ptr<Optimizer> make_sgd(const Options& options, std::size_t parameters);
std::unique_ptr<Optimizer> make_momentum(const Options& options, std::size_t parameters);
std::unique_ptr<Optimizer> make_adam(const Options& options, std::size_t parameters);

}  // namespace fedmpi::server
