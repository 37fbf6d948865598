#include "federation/plan.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <cmath>
#include <filesystem>

#include "client/algorithm.hpp"
#include "federation/cohort.hpp"
#include "federation/evaluation.hpp"
#include "federation/memory.hpp"
#include "server/optimizer.hpp"

namespace fedmpi::federation {

namespace {

// Clients of this rank in a round at most: six standard deviations above the mean, which chance very rarely exceeds.
std::size_t clients_in_a_round(const Config& config, const Roster& roster) {
  const double here = static_cast<double>(roster.mine.clients());
  const double cohort = expected_cohort(config.federation, roster.clients);
  const double mean = cohort * here / static_cast<double>(roster.clients);
  double most = std::min(here, mean + 6 * std::sqrt(mean));
  if (config.federation.sampling != "poisson") most = std::min(most, cohort);
  return static_cast<std::size_t>(std::ceil(most));
}

std::string describe_test(const Config& config, const Roster& roster) {
  if (roster.test_rows == 0) return "none";
  const bool trained_on = std::any_of(roster.files.begin(), roster.files.end(), [&](const std::string& file) {
    std::error_code unknown;
    return std::filesystem::equivalent(file, config.data.test, unknown);
  });
  return fmt::format("of {} examples{}", roster.test_rows, trained_on ? ", which are trained on too" : "");
}

// With data.skip-bad; on rank 0.
std::string left_out(const Roster& roster) {
  const auto empty = std::count(roster.sizes.begin(), roster.sizes.end(), 0U);
  return (roster.dropped > 0 ? fmt::format(", {} bad rows dropped", roster.dropped) : "") +
         (empty > 0 ? fmt::format(", {} {} without examples left out", empty, empty == 1 ? "client" : "clients") : "");
}

}  // namespace

std::uint64_t memory_to_train(const mpi::Communicator& comm, const mpi::Cluster& cluster, const Config& config,
                              const Roster& roster, std::size_t parameters) {
  const std::size_t largest = std::max<std::size_t>(1, roster.mine.largest_client());
  const std::uint64_t threads = participant_index(comm) < 0 ? 0 : static_cast<std::uint64_t>(config.federation.threads);
  std::uint64_t vectors = cluster.leads() ? 1 : 0;  // the model, which the ranks of a node share
  const bool in_place = client::steps_in_place(config.client, config.model.l2, largest, client::block_rows(largest));
  vectors += threads * (1u + (in_place ? 0 : 1) + (config.client.momentum > 0 ? 1 : 0));  // local, gradient, velocity
  std::uint64_t examples = threads * client::block_rows(largest);
  examples += std::max<std::uint64_t>(1, threads) * evaluation_rows(roster);
  if (comm.is_root()) {
    const std::uint64_t states = server::make(config.server, 0)->state().size();
    vectors += 2 + 2 * states;      // the update; a checkpoint that is gone on from, for a moment,
    vectors += states > 0 ? 1 : 0;  // and an array of its state twice
  }
  return (vectors * parameters + examples * roster.schema.features()) * sizeof(float) +
         aggregate::exchange_memory(aggregate::kind(config.aggregate), parameters, threads,
                                    clients_in_a_round(config, roster));
}

std::string describe_plan(mpi::Communicator& comm, const mpi::Cluster& cluster, const Config& config,
                          const Roster& roster, const model::Model& model, const aggregate::Exchange& exchange) {
  const double cohort = expected_cohort(config.federation, roster.clients);
  const std::uint64_t d = model.layout().size();
  const double p = static_cast<double>(participants(comm));
  const std::size_t per_rank = static_cast<std::size_t>(cohort / p) + 1;
  std::uint64_t examples = 0;
  for (const data::Block& b : roster.mine.blocks()) examples += b.rows;
  const std::uint64_t held = roster.mine.memory() + roster.test.rows * roster.schema.example_bytes();
  const std::array<std::uint64_t, 2> mine = {memory_to_train(comm, cluster, config, roster, d) + held, examples};
  const std::vector<std::uint64_t> all = comm.gather(std::span<const std::uint64_t>(mine));
  if (!comm.is_root()) return {};
  std::uint64_t memory = 0, most = 0, least = UINT64_MAX;
  for (std::size_t r = 0; r * 2 < all.size(); ++r) {
    memory = std::max(memory, all[2 * r]);
    if (all.size() > 2 && r == 0) continue;  // rank 0 holds no examples
    most = std::max(most, all[2 * r + 1]);
    least = std::min(least, all[2 * r + 1]);
  }
  const std::string states = config.server.optimizer == "sgd" ? "" : " and optimizer state";
  return fmt::format(
      "data         {} clients, {} examples in {} {}{}; test shard {}\n"
      "ranks        {} {}, {} to {} examples each; {} {}\n"
      "model        {}, {} parameters\n"
      "round        {}{:.6g} of {} clients ({}{}); {} down and {} up per participant\n"
      "memory       about {} on the largest rank\n"
      "checkpoint   about {}{} in {}\n",
      roster.clients, roster.examples, roster.files.size(), roster.files.size() == 1 ? "file" : "files",
      left_out(roster), describe_test(config, roster), participants(comm),
      participants(comm) == 1 ? "participant" : "participants", least, most, config.federation.threads,
      config.federation.threads == 1 ? "thread each" : "threads each", config.model.kind, model.layout().size(),
      config.federation.sampling == "poisson" ? "about " : "", cohort, roster.clients, config.federation.sampling,
      static_cast<std::uint64_t>(config.federation.cohort) > roster.clients ? "; there are no more" : "",
      bytes_text(d * sizeof(float)), bytes_text(exchange.bytes_up(1, per_rank)), bytes_text(memory),
      bytes_text(d * sizeof(float) + 16384), states, config.run.dir);
}

}  // namespace fedmpi::federation
