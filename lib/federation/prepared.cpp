#include "federation/prepared.hpp"

#include <algorithm>
#include <limits>

#include "base/error.hpp"
#include "federation/cohort.hpp"
#include "federation/round.hpp"
#include "federation/stopping.hpp"
#include "mpi/lifeline.hpp"
#include "server/optimizer.hpp"

namespace fedmpi::federation {

namespace {

// Every rank reads its options by itself, and the file may be another one here.
void check_agreement(mpi::Communicator& comm, const Config& config) {
  std::string on_root = config.ini();
  comm.broadcast(on_root);
  mpi::collectively(comm, [&] { federation::check_agreement(Config::from_ini(on_root, "rank 0"), config); });
}

// For how many examples, one after the other, a participant trains in a round.
double training_time(const Config& config, const Prepared& run) {
  const double clients =
      expected_cohort(config.federation, run.roster.clients) / static_cast<double>(run.roster.seats.participants);
  const double at_once = std::clamp(clients, 1.0, static_cast<double>(config.federation.threads));
  const auto of_client = static_cast<std::size_t>(
      std::max<std::uint64_t>(1, run.roster.examples / std::max<std::uint64_t>(1, run.roster.clients)));
  const client::Steps steps = run.algorithm->steps(of_client);
  return clients / at_once * static_cast<double>(steps.count) * static_cast<double>(steps.batch);
}

}  // namespace

Prepared prepare(mpi::Communicator& comm, const Config& config) {
  if (comm.lifeline() != nullptr) comm.lifeline()->give_signs_of_life(config.federation.deadline);
  mpi::collectively(comm, [&] { config.check(); });
  check_agreement(comm, config);
  const data::Budget budget = {static_cast<std::size_t>(config.data.memory) << 20,
                               static_cast<std::size_t>(config.federation.threads)};
  Prepared run;
  run.roster = assemble(comm, config.data.shards, config.data.skip_bad, budget, config.federation.survive);
  // Options that only make sense together with the data, before anything is allocated for them.
  mpi::collectively(comm, [&] {
    run.roster.check_trainable();
    run.model = model::make(config.model, run.roster.schema);
    run.algorithm = client::make(*run.model, config.client);
    server::make(config.server, 0);
    aggregate::check_exchange(aggregate::kind(config.aggregate), message_of(*run.model, *run.algorithm, config.update));
    check_target(config.stop, run.roster.schema.task);
  });
  // A participant that may be lost evaluates nothing that the others would then miss.
  double time_of_root =
      config.federation.survive ? std::numeric_limits<double>::infinity() : training_time(config, run);
  comm.broadcast_struct(time_of_root);  // of as many threads as rank 0 has been told
  load_test(comm, run.roster, config.data.test, config.data.skip_bad, time_of_root);
  return run;
}

}  // namespace fedmpi::federation
