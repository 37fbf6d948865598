// Everything a run can be told, with its defaults.
#pragma once

#include <cstdint>
#include <map>
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

  // Where each option that was given comes from: "FILE:LINE: ", or nothing for the command line.
  std::map<std::string, std::string> given;

  // Each of these throws Error(usage) with the file and line, or the option, that is wrong.
  static Config from_file(const std::string& path);
  static Config from_ini(const std::string& text, const std::string& name);  // `name` for messages
  static std::string text_of(const std::string& path);                       // of such a file
  // Arguments of the form --section.key value or --section.key=value, which override what is there.
  void apply(const std::vector<std::string>& arguments);

  // Values that make no sense on their own or together, and options that were given although nothing reads them with
  // the others as they are.
  void check() const;
  std::string ini() const;  // every option that is read, with the value that it has; from_ini reads it back
  std::vector<Option> options();
  Config resolved() const;  // what is "auto" set to the default of the choice made, as far as the options say

  // Every option; one option; one of its choices with what that reads. Error(usage) if there is none such.
  static std::string help();
  static std::string help(const std::string& option);
  static std::string help(const std::string& option, const std::string& choice);
};

// "client.lr was '0.1' and is '0.2'": the options in which two runs may not differ if one is to continue the other, and
// do. What neither reads is not compared.
std::vector<std::string> conflicts(const Config& before, const Config& now);

// That a rank has been told the same as rank 0, but for what may differ per rank: Error(usage) that names the option.
void check_agreement(const Config& on_root, const Config& here);

}  // namespace fedmpi::federation
