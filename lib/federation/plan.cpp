#include "federation/plan.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <cmath>
#include <filesystem>

#include "base/plural.hpp"
#include "base/saturated.hpp"
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
                              const Prepared& run) {
  const Roster& roster = run.roster;
  const std::size_t parameters = run.model->layout().size();
  const std::size_t largest = std::max<std::size_t>(1, roster.mine.largest_client());
  const std::uint64_t threads = roster.seats.trains() ? static_cast<std::uint64_t>(config.federation.threads) : 0;
  const Layout message = message_of(*run.model, *run.algorithm, config.update);
  const std::uint64_t down = run.algorithm->down().size(), kept = run.algorithm->kept().size();
  const std::uint64_t clients = clients_in_a_round(config, roster);
  // As many numbers as no rank comes to hold, so that none of the products below wraps.
  const std::size_t cohort = static_cast<std::size_t>(expected_cohort(config.federation, roster.clients));
  elements_of({parameters + message.size() + down + kept,
               16 + 4 * static_cast<std::size_t>(config.federation.threads) + 8 * (cohort + roster.clients + 1)},
              "the model and the updates of a round");
  const auto batches = [&](std::uint64_t count, std::size_t rows) {
    const std::size_t bytes = rows * roster.schema.features() * sizeof(float) + run.model->workspace_bytes(rows);
    return elements_of({count, bytes}, "the bytes of batches");
  };
  std::uint64_t vectors = threads * run.algorithm->vectors(largest), floats = threads * message.size();
  if (cluster.leads()) floats += parameters + down + run.model->frozen().size();  // which the ranks of a node share
  if (threads > 0) floats += (roster.mine.clients() + clients) * kept;            // if all of them take part
  if (comm.is_root()) {
    const std::uint64_t states = server::make(config.server, 0)->state().size();
    vectors += 1 + 2 * states;      // a checkpoint that is resumed, for a moment,
    vectors += states > 0 ? 1 : 0;  // and an array of its state twice
    floats += message.size() + down;
  }
  return (vectors * parameters + floats) * sizeof(float) + batches(threads, client::HostLocal::block_rows(largest)) +
         batches(std::max<std::uint64_t>(1, threads), evaluation_rows(roster)) +
         aggregate::exchange_memory(aggregate::kind(config.aggregate), message, threads, clients);
}

std::string describe_plan(mpi::Communicator& comm, const mpi::Cluster& cluster, const Config& config,
                          const Prepared& run, const Round& round) {
  const Roster& roster = run.roster;
  const double cohort = expected_cohort(config.federation, roster.clients);
  const std::uint64_t d = run.model->layout().size(), down = run.algorithm->down().size();
  const std::uint64_t p = roster.seats.participants;
  const std::size_t per_rank = static_cast<std::size_t>(cohort / static_cast<double>(p)) + 1;
  std::uint64_t examples = 0;
  for (const data::Block& b : roster.mine.blocks()) examples += b.rows;
  const std::uint64_t held = roster.mine.memory() + roster.test.rows * roster.schema.example_bytes();
  const std::array<std::uint64_t, 2> mine = {(Saturated(memory_to_train(comm, cluster, config, run)) + held).value,
                                             examples};
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
      "data         {}, {} in {}{}; test shard {}\n"
      "ranks        {}, {} to {} examples each; {} each\n"
      "model        {}, {} parameters\n"
      "round        {}{:.6g} of {} clients ({}{}); {} down and {} up per participant\n"
      "memory       about {} on the largest rank\n"
      "checkpoint   about {}{} in {}\n",
      counted(roster.clients, "client"), counted(roster.examples, "example"), counted(roster.files.size(), "file"),
      left_out(roster), describe_test(config, roster), counted(p, "participant"), least, most,
      counted(config.federation.threads, "thread"), config.model.kind, d,
      config.federation.sampling == "poisson" ? "about " : "", cohort, roster.clients, config.federation.sampling,
      static_cast<std::uint64_t>(config.federation.cohort) > roster.clients ? "; there are no more" : "",
      bytes_text((d + down) * sizeof(float)), bytes_text(round.exchange().bytes_up(1, per_rank)), bytes_text(memory),
      bytes_text((d + down) * sizeof(float) + 16384), states, config.run.dir);
}

}  // namespace fedmpi::federation
