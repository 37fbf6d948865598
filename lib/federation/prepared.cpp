#include "federation/prepared.hpp"

#include <algorithm>
#include <limits>
#include <sstream>

#include "base/error.hpp"
#include "federation/cohort.hpp"
#include "federation/round.hpp"
#include "federation/stopping.hpp"
#include "mpi/lifeline.hpp"
#include "server/optimizer.hpp"

namespace fedmpi::federation {

namespace {

// Every rank reads its options by itself, and the file may be another one here. How much a rank holds and computes at
// once, and where it stores what its clients keep, is its own.
void check_agreement(mpi::Communicator& comm, Config config) {
  const std::vector<Option> options = config.options();
  std::string on_root;
  for (const Option& option : options) on_root += option.text() + '\0';  // in no option
  comm.broadcast(on_root);
  mpi::collectively(comm, [&] {
    std::istringstream texts(on_root);
    std::string text;
    for (const Option& option : options)
      if (std::getline(texts, text, '\0') && text != option.text() && option.name != "data.memory" &&
          option.name != "federation.threads" && option.name != "run.client-states")
        fail(ExitCode::usage, "{}: expected '{}' as on rank 0, found '{}'", option.name, text, option.text());
  });
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
  catch_preemption();
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
