#include "client/algorithm.hpp"

#include <array>
#include <cmath>

#include "base/error.hpp"
#include "base/names.hpp"

namespace fedmpi::client {

namespace {

constexpr std::array<Kind, 4> kAlgorithms = {{
    {"fedsgd", "one gradient over all the client's examples (McMahan et al. 2017)",
     "lr lr-decay stop.gradient-tolerance", make_fedsgd},
    {"fedavg", "local SGD for epochs or steps (McMahan et al. 2017)",
     "epochs steps batch lr lr-decay momentum weight-decay", make_fedavg},
    {"fedprox", "local SGD that is held near the global model (Li et al. 2020)",
     "epochs steps batch lr lr-decay momentum weight-decay proximal", make_fedprox},
    {"scaffold", "local SGD corrected by control variates, option II (Karimireddy et al. 2020)",
     "epochs steps batch lr lr-decay weight-decay", make_scaffold},
}};

void require(bool holds, const char* option, const char* expected, double found) {
  if (!holds) fail(ExitCode::usage, "client.{}: expected {}, found {}", option, expected, found);
}

}  // namespace

std::span<const Kind> algorithms() { return kAlgorithms; }

std::unique_ptr<Algorithm> make(const model::Model& model, const Options& options) {
  const Kind& kind = find_by_name(kAlgorithms, options.algorithm, "client.algorithm");
  require(options.epochs >= 1, "epochs", "1 or more", static_cast<double>(options.epochs));
  require(options.steps >= 0, "steps", "0 or more", static_cast<double>(options.steps));
  require(options.batch >= 0, "batch", "0 (all) or more", static_cast<double>(options.batch));
  require(options.lr > 0 && std::isfinite(options.lr), "lr", "a positive number", options.lr);
  require(options.lr_decay > 0 && options.lr_decay <= 1, "lr-decay", "a number above 0 and up to 1", options.lr_decay);
  require(options.momentum >= 0 && options.momentum < 1, "momentum", "a number from 0 to below 1", options.momentum);
  require(options.weight_decay >= 0 && std::isfinite(options.weight_decay), "weight-decay", "0 or more",
          options.weight_decay);
  require(options.proximal >= 0 && std::isfinite(options.proximal), "proximal", "0 or more", options.proximal);
  return kind.make(model, options);
}

double learning_rate(const Options& options, std::uint64_t round) {
  return options.lr * std::pow(options.lr_decay, static_cast<double>(round - 1));
}

}  // namespace fedmpi::client
