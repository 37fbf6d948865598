#include "server/optimizer.hpp"

#include <array>
#include <cmath>

#include "base/error.hpp"
#include "base/names.hpp"

namespace fedmpi::server {

namespace {

constexpr std::array<Kind, 3> kOptimizers = {{
    {"sgd", "w + η Δ (FedAvg, McMahan et al. 2017)", "lr", 1.0, make_sgd},
    {"momentum", "v = β v + Δ, w + η v (FedAvgM, Hsu et al. 2019)", "lr momentum", 1.0, make_momentum},
    {"adam", "Adam with bias correction (FedAdam, Reddi et al. 2020)", "lr beta1 beta2 epsilon", 0.01, make_adam},
}};

}  // namespace

std::span<const Kind> optimizers() { return kOptimizers; }

std::unique_ptr<Optimizer> make(const Options& given, std::size_t parameters) {
  const Kind& kind = find_by_name(kOptimizers, given.optimizer, "server.optimizer");
  Options options = given;
  options.lr = given.lr.value_or(kind.lr);
  const auto below_one = [](const char* option, double value) {
    if (!(value >= 0 && value < 1))
      fail(ExitCode::usage, "server.{}: expected a number from 0 to below 1, found {}", option, value);
  };
  below_one("momentum", options.momentum);
  below_one("beta1", options.beta1);
  below_one("beta2", options.beta2);
  if (!(*options.lr > 0 && std::isfinite(*options.lr)))
    fail(ExitCode::usage, "server.lr: expected a positive number, found {}", *options.lr);
  if (!(options.epsilon > 0 && std::isfinite(options.epsilon)))
    fail(ExitCode::usage, "server.epsilon: expected a positive number, found {}", options.epsilon);
  return kind.make(options, parameters);
}

}  // namespace fedmpi::server
