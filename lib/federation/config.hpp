// Everything a run can be told, with its defaults.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "aggregate/aggregator.hpp"
#include "base/options.hpp"
#include "client/algorithm.hpp"
#include "model/model.hpp"
#include "server/optimizer.hpp"
#include "update/filter.hpp"

namespace fedmpi::federation {

struct DataOptions {
  std::string shards, test;
  bool skip_bad = false;
  std::int64_t memory = 0;  // MiB of examples that a participant holds; 0 = all of them
};

struct FederationOptions {
  std::int64_t rounds = 100;
  std::int64_t cohort = 0;  // clients per round; 0 = by fraction
  double fraction = 1.0;
  std::string sampling = "uniform";
  std::uint64_t seed = 1;
  std::int64_t threads = 1;
  std::string bad_update = "abort";
  double deadline = 0.0;  // seconds; 0 = none
  bool survive = false;
};

struct EvalOptions {
  std::int64_t every = 1;
  bool clients = false;
};

struct StopOptions {
  double target = 0.0;              // 0 = none
  double tolerance = 0.0;           // 0 = none
  double gradient_tolerance = 0.0;  // 0 = none
  std::int64_t patience = 0;        // evaluations; 0 = none
  double minutes = 0.0;             // 0 = none
};

struct RunOptions {
  std::string dir = "run/default";
  std::int64_t checkpoint_every = 10;
  std::int64_t keep = 2;
  std::string resume = "no";
  std::string allow;          // names that may differ when a run goes on
  std::string client_states;  // directory of what the clients keep; empty = run.dir
  bool shared_memory = true;
};

struct Config {
  DataOptions data;
  model::Options model;
  client::Options client;
  server::Options server;
  update::Options update;
  aggregate::Options aggregate;
  FederationOptions federation;
  EvalOptions eval;
  StopOptions stop;
  RunOptions run;

  // Each of these throws Error(usage) with the file and line, or the option, that is wrong.
  static Config from_file(const std::string& path);
  static Config from_ini(const std::string& text, const std::string& name);  // `name` for messages
  // Arguments of the form --section.key value or --section.key=value, which override what is there.
  void apply(const std::vector<std::string>& arguments);

  void check() const;       // values that make no sense on their own, or together
  std::string ini() const;  // every option as it stands; from_ini reads it back
  std::vector<Option> options();
  static std::string help();
};

// "client.lr 0.1, here 0.2": the options in which two runs may not differ if one is to go on where the other
// stopped, and do. Options about how long and how to run (data, of which the contents are compared; rounds, threads,
// deadline, survive, stop, eval, run) may always differ.
std::vector<std::string> conflicts(const Config& before, const Config& now);

}  // namespace fedmpi::federation
