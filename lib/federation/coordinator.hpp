// What rank 0 does alone: it keeps the model and the history, steps the server optimizer, saves, and decides
// when the run ends.
#pragma once

#include <chrono>
#include <memory>
#include <optional>
#include <string>
#include <utility>

#include "base/error.hpp"
#include "checkpoint/run_directory.hpp"
#include "client/algorithm.hpp"
#include "federation/config.hpp"
#include "federation/evaluation.hpp"
#include "federation/observer.hpp"
#include "federation/roster.hpp"
#include "federation/round.hpp"
#include "federation/stopping.hpp"
#include "model/model.hpp"
#include "server/optimizer.hpp"

namespace fedmpi::federation {

// Seconds since the last lap.
class Stopwatch {
 public:
  double lap() {
    const auto now = std::chrono::steady_clock::now();
    return std::chrono::duration<double>(now - std::exchange(last_, now)).count();
  }

 private:
  std::chrono::steady_clock::time_point last_ = std::chrono::steady_clock::now();
};

// The vectors that rank 0 renews and broadcasts, and the weights that are not trained.
struct Global {
  std::span<float> model, down, frozen;  // down: client::Algorithm::down()
};

// Where a run begins: after so many rounds, and where what its clients keep is stored.
struct Beginning {
  std::uint64_t round = 0;
  client::StatesSum states;
  std::string directory;  // of the checkpoint; empty at the start
};

class Coordinator {
 public:
  // Checks the run directory and finds the state to start from, fresh or of a checkpoint; puts it into `global`, where
  // it stays. Errors are of this rank alone. `started`: the moment from which the time allowed is counted.
  Coordinator(const Config& config, const Roster& roster, const model::Model& model, const client::Algorithm& algorithm,
              const Layout& message, Global global, const Observer& observer,
              std::chrono::steady_clock::time_point started);

  const Beginning& beginning() const { return beginning_; }
  // From here on the directory is this run's: sets damaged checkpoints aside, writes config.ini and begins history.csv.
  // Until then no file of it has changed.
  void begin();

  std::uint64_t round() const { return facts_.round; }  // rounds that the model has seen
  const secure::Scale& scale() const { return scale_; }
  bool stopping() const { return stop_.has_value(); }
  bool evaluation_due() const;
  bool checkpoint_due() const;
  std::uint64_t oldest_kept() const { return directory_.oldest_kept(); }

  // A turn of the loop: open() looks for reasons to stop that are known before the model at hand is evaluated; close()
  // files its row and looks again; save() saves it; step() makes the next model. A round that a checkpoint brought back
  // is closed already.
  void open();
  bool closed() const { return closed_; }
  bool close();  // whether it is to be saved. Error(bad_data) for a model that is not finite
  // With what the clients keep, which their participants have stored. With `stored`, why they could not: a failure like
  // any other. One is noted, and the model saved after a later round; when the run ends, or has gone on for as long as
  // it usually does without a checkpoint, it is thrown.
  void save(const client::StatesSum& states, const std::optional<Error>& stored);
  void step(const Round& round, const client::Message& mean, const mpi::Traffic& traffic);
  // Saves the model at hand although the round under way has failed, or notes that it cannot be saved. An evaluation
  // that was due is made after resuming.
  void rescue();
  // Tells the observer and keeps it with the history.
  void record(const std::string& event);

  checkpoint::Row& row() { return row_; }  // of the model at hand
  // Books the time since the last lap as a part of the turn's round: the one being trained or, when there is none, the
  // last.
  void lap(double checkpoint::Row::*part);
  const std::optional<Stop>& stop() const { return stop_; }
  const std::vector<checkpoint::Row>& history() const { return facts_.history; }
  const std::string& saved_as() const { return saved_as_; }

 private:
  void resume();
  void restore(checkpoint::Checkpoint before);
  void restore(const std::string& name, std::span<float> values, checkpoint::Checkpoint& before, bool required) const;
  std::optional<Error> write_checkpoint();
  void note(const std::string& text) const;
  bool due(std::int64_t every) const;
  bool evaluated(const checkpoint::Row& row) const;
  double elapsed() const;  // seconds since the start

  const Config& config_;
  const Roster& roster_;
  const client::Algorithm& algorithm_;
  const Observer& observer_;
  checkpoint::RunDirectory directory_;
  std::unique_ptr<server::Optimizer> optimizer_;
  checkpoint::Facts facts_;
  Layout message_, down_;
  Global global_;
  secure::Scale scale_;         // of the next round's sum
  checkpoint::Row row_, next_;  // of the model at hand, and of the round being trained
  bool closed_ = false;
  std::optional<Stop> stop_;
  std::optional<std::uint64_t> unsaved_since_;  // round of the first save that failed, until one succeeds
  std::chrono::steady_clock::time_point started_;
  Clock clock_;
  Stopwatch watch_, round_watch_;
  Beginning beginning_;
  std::string saved_as_;
  std::uint64_t saved_round_ = 0;
};

}  // namespace fedmpi::federation
