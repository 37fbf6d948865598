#include "federation/stopping.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <csignal>
#include <limits>

#include "base/environment.hpp"
#include "base/error.hpp"
#include "base/plural.hpp"

namespace fedmpi::federation {

namespace {

volatile std::sig_atomic_t preempted = 0;

// After the last checkpoint: MPI, the launcher and the job script end, and a requeue is asked for.
constexpr double kSecondsToLeave = 5.0;

// Evaluations since the best test loss of a model that has been trained: where clients differ much, the first rounds
// are often worse than the untrained model. Only those that are due count, not the one that a run makes at its end.
std::int64_t evaluations_without_improvement(std::int64_t every, std::span<const checkpoint::Row> history) {
  double best = std::numeric_limits<double>::infinity();
  std::int64_t since = 0;
  for (const checkpoint::Row& row : history) {
    if (row.round == 0 || std::isnan(row.test_loss) || every == 0 || row.round % static_cast<std::uint64_t>(every) != 0)
      continue;
    ++since;
    if (row.test_loss < best) {
      best = row.test_loss;
      since = 0;
    }
  }
  return since;
}

}  // namespace

std::optional<Stop> stop_by_history(const Config& config, data::Task task, std::span<const checkpoint::Row> history) {
  const checkpoint::Row& last = history.back();
  const StopOptions& stop = config.stop;
  // Only an evaluation that is due counts, not the one that an interrupted run makes at its end.
  const std::uint64_t every = static_cast<std::uint64_t>(config.eval.every);
  const bool due =
      (every > 0 && last.round % every == 0) || last.round >= static_cast<std::uint64_t>(config.federation.rounds);
  if (stop.target > 0 && due && !std::isnan(last.test_metric)) {
    const bool classes = task == data::Task::classification;
    if (classes ? last.test_metric >= stop.target : last.test_metric <= stop.target)
      return Stop{fmt::format("target reached: test {} {:.6g}", classes ? "accuracy" : "RMSE", last.test_metric)};
  }
  if (last.clients > 0 && stop.tolerance > 0 && last.update_norm < stop.tolerance)
    return Stop{fmt::format("converged: norm of the update {:.3g}", last.update_norm)};
  if (last.clients > 0 && stop.gradient_tolerance > 0) {
    const double gradient = last.update_norm / client::learning_rate(config.client, last.round);
    if (gradient < stop.gradient_tolerance)
      return Stop{fmt::format("converged: norm of the gradient {:.3g}", gradient)};
  }
  if (stop.patience > 0 && evaluations_without_improvement(config.eval.every, history) >= stop.patience)
    return Stop{"no better test loss in " + counted(stop.patience, "evaluation")};
  if (last.round >= static_cast<std::uint64_t>(config.federation.rounds))
    return Stop{last.round == 1 ? "the only round is done" : fmt::format("all {} rounds done", last.round)};
  return std::nullopt;
}

void check_target(const StopOptions& options, data::Task task) {
  if (task == data::Task::classification && options.target > 1)
    fail(ExitCode::usage, "stop.target: expected an accuracy from 0 to 1, found {}", options.target);
}

double seconds_allowed(const StopOptions& options, std::int64_t now) {
  double seconds = options.minutes > 0 ? options.minutes * 60.0 : Clock::kNever;
  if (const auto end = environment_number("SLURM_JOB_END_TIME"); end && *end > 0)
    seconds = std::min(seconds, static_cast<double>(*end - now) - kSecondsToLeave);
  return seconds;
}

void Clock::record(const checkpoint::Row& row) {
  round_ = std::max(round_, row.seconds - row.seconds_checkpoint);
  checkpoint_ = std::max(checkpoint_, row.seconds_checkpoint);
}

void Clock::record_earlier(const checkpoint::Row& row) {
  if (row.seconds_checkpoint > 0) checkpoint_ = row.seconds_checkpoint;
}

std::optional<Stop> Clock::stop(double elapsed) const {
  const double needed = round_ > 0 ? 2.0 * (round_ + checkpoint_) : 0.0;
  if (elapsed + needed <= limit_) return std::nullopt;
  return Stop{fmt::format("time limit: {:.1f} s of {:.1f} s used, and two more rounds might not fit", elapsed,
                          std::max(0.0, limit_)),
              false};
}

void catch_preemption() {
  std::signal(SIGUSR1, [](int) { preempted = 1; });
}

std::optional<Stop> stop_by_signal() {
  if (preempted == 0) return std::nullopt;
  return Stop{"preempted by SIGUSR1", false};
}

}  // namespace fedmpi::federation
