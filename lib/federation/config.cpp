#include "federation/config.hpp"

#include <algorithm>
#include <boost/program_options.hpp>
#include <cctype>
#include <cmath>
#include <fstream>
#include <sstream>

#include "base/error.hpp"
#include "base/names.hpp"
#include "federation/cohort.hpp"
#include "model/kernels/activations.hpp"
#include "model/kernels/losses.hpp"

namespace fedmpi::federation {

namespace po = boost::program_options;

std::vector<Option> Config::options() {
  const auto one_of = [](const char* what, const std::string& names) { return fmt::format("{}: {}", what, names); };
  const auto table = [](const char* what, const auto& rows) {
    std::string text = std::string(what) + ":";
    for (const auto& row : rows) text += fmt::format("\n  {}: {}", row.name, row.summary);
    return text;
  };
  return {
      {"data.shards", &data.shards, "directory, file or pattern of the training shards"},
      {"data.test", &data.test, "shard to evaluate on; empty = none"},
      {"data.skip-bad", &data.skip_bad, "drop and count bad rows instead of refusing the shard"},
      {"data.memory", &data.memory,
       "MiB of training examples that a participant holds; it reads the others when they take part. 0 = all are held"},
      {"model.kind", &model.kind, table("model", model::kinds())},
      {"model.hidden", &model.hidden, "mlp: widths of the hidden layers"},
      {"model.activation", &model.activation, table("mlp: activation", model::kernels::activations())},
      {"model.loss", &model.loss, table("loss; auto = by the task", model::kernels::losses())},
      {"model.l2", &model.l2, "λ of the penalty λ/2 ‖kernels‖²"},
      {"client.algorithm", &client.algorithm, table("local training", client::algorithms())},
      {"client.epochs", &client.epochs, "fedavg: passes over the client's examples per round"},
      {"client.steps", &client.steps, "fedavg: if above 0, steps per round instead of epochs"},
      {"client.batch", &client.batch, "fedavg: examples per step; 0 = all"},
      {"client.lr", &client.lr, "learning rate at the client"},
      {"client.lr-decay", &client.lr_decay, "factor on the learning rate after each round"},
      {"client.momentum", &client.momentum, "fedavg: momentum of the local steps"},
      {"client.weight-decay", &client.weight_decay, "fedavg: added to the gradient times the parameters"},
      {"client.proximal", &client.proximal,
       "fedprox: μ of the term μ/2 ‖w − w₀‖² that holds clients near the global model"},
      {"update.clip", &update.clip, "largest norm of a client's update, to which longer ones are scaled down; 0 = any"},
      {"server.optimizer", &server.optimizer, table("server optimizer", server::optimizers())},
      {"server.lr", &server.lr, "learning rate at the server"},
      {"server.momentum", &server.momentum, "momentum: factor on the velocity"},
      {"server.beta1", &server.beta1, "adam: decay of the first moment"},
      {"server.beta2", &server.beta2, "adam: decay of the second moment"},
      {"server.epsilon", &server.epsilon, "adam: added to the root of the second moment"},
      {"aggregate.kind", &aggregate.kind, table("aggregator", aggregate::kinds())},
      {"aggregate.weights", &aggregate.weights, "weight of a client: examples, equal"},
      {"aggregate.denominator", &aggregate.denominator,
       "what the weighted sum is divided by: cohort (the weight of the clients that came) or expected (of a cohort on "
       "average, the same in every round)"},
      {"federation.rounds", &federation.rounds, "rounds in all"},
      {"federation.cohort", &federation.cohort, "clients per round; 0 = by fraction"},
      {"federation.fraction", &federation.fraction, "share of the clients in a round, if no cohort is given"},
      {"federation.sampling", &federation.sampling, table("sampling of the cohort", samplings())},
      {"federation.seed", &federation.seed, "seed of everything random"},
      {"federation.threads", &federation.threads, "clients that a rank trains at once"},
      {"federation.bad-update", &federation.bad_update, "a client whose update is not finite: abort, drop"},
      {"federation.deadline", &federation.deadline,
       "seconds that a participant may keep rank 0 waiting, or that a rank may stand still (then 5 at least), before "
       "the run stops, naming it; 0 = any"},
      {"federation.survive", &federation.survive,
       "go on without participants that die or miss the deadline, others taking their clients over (in ten "
       "deadlines); with aggregate.kind mean and eval.clients off"},
      {"eval.every", &eval.every, "rounds between evaluations; 0 = only at the end"},
      {"eval.clients", &eval.clients, "evaluate on every client's own examples too"},
      {"stop.target", &stop.target, "stop at this accuracy (or, in regression, RMSE); 0 = never"},
      {"stop.tolerance", &stop.tolerance, "stop when the norm of the update falls below; 0 = never"},
      {"stop.gradient-tolerance", &stop.gradient_tolerance,
       "fedsgd: stop when the norm of the mean gradient falls below; 0 = never"},
      {"stop.patience", &stop.patience, "stop after so many evaluations without a better test loss; 0 = never"},
      {"stop.minutes", &stop.minutes, "stop, to be resumed, before so many minutes have passed; 0 = never"},
      {"run.dir", &run.dir, "directory of checkpoints and history"},
      {"run.checkpoint-every", &run.checkpoint_every, "rounds between checkpoints; 0 = only at the end"},
      {"run.keep", &run.keep, "checkpoints to keep, at least 2"},
      {"run.resume", &run.resume,
       one_of("go on from a checkpoint",
              "auto (the newest whole one; with none at all, from the start), no, or a file (or from the newest one "
              "that has gone on from that)")},
      {"run.allow", &run.allow, "options, separated by commas, that may differ when a run goes on"},
      {"run.client-states", &run.client_states,
       "directory in which participants store what their clients keep between rounds; empty = run.dir"},
      {"run.shared-memory", &run.shared_memory, "ranks of one node exchange vectors in memory that they share"},
  };
}

namespace {

const Option& find_option(const std::vector<Option>& options, std::string_view name, std::string_view where) {
  const auto found = std::find_if(options.begin(), options.end(), [&](const Option& o) { return o.name == name; });
  if (found != options.end()) return *found;
  // The known names of the section; without such a section, how names are made.
  const std::string_view section = name.substr(0, name.find('.') + 1);
  std::vector<std::string> known;
  for (const Option& o : options)
    if (!section.empty() && o.name.starts_with(section)) known.push_back(o.name);
  if (known.empty()) {
    for (const Option& o : options)
      if (const auto s = o.name.substr(0, o.name.find('.')); known.empty() || known.back() != s) known.push_back(s);
    fail(ExitCode::usage, "{}'{}' is not known; expected section.key, the sections are {}", where, name,
         fmt::join(known, ", "));
  }
  fail(ExitCode::usage, "{}'{}' is not known; known are {}", where, name, fmt::join(known, ", "));
}

// "FILE:LINE: " of the line that sets `name`, after so many others that do.
std::string line_of(const std::string& text, const std::string& file, const std::string& name, std::ptrdiff_t before) {
  std::istringstream lines(text);
  std::string section;
  int number = 0;
  for (std::string line; std::getline(lines, line);) {
    ++number;
    line.erase(std::remove_if(line.begin(), line.end(), [](unsigned char c) { return std::isspace(c); }), line.end());
    if (line.starts_with('[') && line.ends_with(']'))
      section = line.substr(1, line.size() - 2) + ".";
    else if (section + line.substr(0, line.find('=')) == name && before-- == 0)
      return fmt::format("{}:{}: ", file, number);
  }
  return file + ": ";
}

// No text, or a line that is neither blank, comment, [section] nor key = value.
void check_syntax(const std::string& text, const std::string& file) {
  std::istringstream lines(text);
  int number = 0;
  for (std::string line; std::getline(lines, line);) {
    ++number;
    if (line.find('\0') != std::string::npos)
      fail(ExitCode::usage, "{}:{}: expected text, found a NUL byte", file, number);
    line = line.substr(0, line.find('#'));
    const auto begin = line.find_first_not_of(" \t\r");
    if (begin == std::string::npos) continue;
    const bool section = line[begin] == '[' && line[line.find_last_not_of(" \t\r")] == ']';
    if (!section && (line.find('=') == std::string::npos || line[begin] == '='))
      fail(ExitCode::usage, "{}:{}: expected [section], key = value or # comment, found '{}'", file, number, line);
  }
}

}  // namespace

Config Config::from_ini(const std::string& text, const std::string& name) {
  check_syntax(text, name);
  Config config;
  const std::vector<Option> known = config.options();
  std::istringstream stream(text);
  po::parsed_options parsed(nullptr);
  try {
    parsed = po::parse_config_file(stream, po::options_description(), true);
  } catch (const po::error& error) {
    fail(ExitCode::usage, "{}: {}", name, error.what());
  }
  std::vector<std::string> seen;
  for (const auto& given : parsed.options) {
    const std::ptrdiff_t before = std::count(seen.begin(), seen.end(), given.string_key);
    const std::string where = line_of(text, name, given.string_key, before);
    if (before > 0) fail(ExitCode::usage, "{}'{}' is set twice", where, given.string_key);
    seen.push_back(given.string_key);
    const Option& option = find_option(known, given.string_key, where);
    try {
      option.set(given.value.at(0));
    } catch (const Error& error) {
      fail(ExitCode::usage, "{}{}", where, error.what());
    }
  }
  return config;
}

Config Config::from_file(const std::string& path) {
  std::ifstream file(path);
  file.peek();
  if (!file.is_open() || file.bad())
    fail(ExitCode::usage, "{}: expected a configuration file, found none that can be read", path);
  constexpr std::string_view kMark = "\xEF\xBB\xBF";  // of the byte order, which some editors write
  std::stringstream text;
  text << file.rdbuf();
  return from_ini(text.str().substr(text.str().starts_with(kMark) ? kMark.size() : 0), path);
}

void Config::apply(const std::vector<std::string>& arguments) {
  const std::vector<Option> known = options();
  po::options_description description;
  for (const Option& o : known) description.add_options()(o.name.c_str(), po::value<std::string>());
  po::parsed_options parsed(nullptr);
  using namespace po::command_line_style;
  try {
    parsed = po::command_line_parser(arguments)
                 .options(description)
                 .style(allow_long | long_allow_adjacent | long_allow_next)
                 .allow_unregistered()
                 .run();
  } catch (const po::error& error) {
    fail(ExitCode::usage, "{}", error.what());
  }
  for (const auto& given : parsed.options) {
    if (given.position_key >= 0)
      fail(ExitCode::usage, "expected options of the form --section.key value, found '{}'", given.value.at(0));
    const Option& option = find_option(known, given.string_key, "");
    option.set(given.value.at(0));
  }
}

void Config::check() const {
  const auto require = [](bool holds, const char* option, const char* expected, auto found) {
    if (!holds) fail(ExitCode::usage, "{}: expected {}, found '{}'", option, expected, found);
  };
  require(!data.shards.empty(), "data.shards", "the training shards", data.shards);
  require(data.memory >= 0 && data.memory < (std::int64_t{1} << 40), "data.memory", "0 or more MiB", data.memory);
  require(federation.rounds >= 0, "federation.rounds", "0 or more", federation.rounds);
  require(federation.cohort >= 0, "federation.cohort", "0 or more", federation.cohort);
  require(federation.fraction > 0 && federation.fraction <= 1, "federation.fraction", "a number above 0 and up to 1",
          federation.fraction);
  require(federation.threads >= 1 && federation.threads <= 1024, "federation.threads", "1 to 1024", federation.threads);
  require(federation.bad_update == "abort" || federation.bad_update == "drop", "federation.bad-update", "abort or drop",
          federation.bad_update);
  require(eval.every >= 0, "eval.every", "0 or more", eval.every);
  require(!run.dir.empty(), "run.dir", "a directory", run.dir);
  require(run.checkpoint_every >= 0, "run.checkpoint-every", "0 or more", run.checkpoint_every);
  require(run.keep >= 2, "run.keep", "2 or more", run.keep);
  const auto not_negative = [&](const char* option, double value) {
    require(value >= 0 && std::isfinite(value), option, "0 or more", value);
  };
  not_negative("federation.deadline", federation.deadline);
  not_negative("stop.target", stop.target);
  not_negative("stop.tolerance", stop.tolerance);
  not_negative("stop.gradient-tolerance", stop.gradient_tolerance);
  not_negative("stop.minutes", stop.minutes);
  require(stop.patience >= 0, "stop.patience", "0 or more", stop.patience);
  Config names;
  std::istringstream allowed(run.allow);
  for (std::string name; std::getline(allowed, name, ',');) find_option(names.options(), name, "run.allow: ");
  find_by_name(samplings(), federation.sampling, "federation.sampling");
  aggregate::kind(aggregate);
  update::make(update);
  if (federation.survive && federation.deadline == 0)
    fail(ExitCode::usage, "federation.survive needs to know when a participant is lost: set federation.deadline");
  if (federation.survive && (aggregate.kind != "mean" || eval.clients))
    fail(ExitCode::usage, "federation.survive works with aggregate.kind mean and eval.clients off alone");
  if (data.test.empty() && (stop.target > 0 || stop.patience > 0))
    fail(ExitCode::usage, "stop.target and stop.patience need a test shard: set data.test");
  if (stop.patience > 0 && eval.every == 0)
    fail(ExitCode::usage, "stop.patience counts evaluations: set eval.every to 1 or more");
  if (stop.gradient_tolerance > 0 && client.algorithm != "fedsgd")
    fail(ExitCode::usage,
         "stop.gradient-tolerance needs client.algorithm fedsgd, found {}: only there is the update a "
         "gradient",
         client.algorithm);
}

std::string Config::ini() const {
  Config copy = *this;
  std::string text, section;
  for (const Option& o : copy.options()) {
    const auto dot = o.name.find('.');
    if (o.name.substr(0, dot) != section) {
      section = o.name.substr(0, dot);
      text += fmt::format("{}[{}]\n", text.empty() ? "" : "\n", section);
    }
    text += fmt::format("{} = {}\n", o.name.substr(dot + 1), o.text());
  }
  return text;
}

std::string Config::help() {
  Config defaults;
  std::string text;
  for (const Option& o : defaults.options()) {
    std::string lines = o.help;
    for (std::size_t at = 0; (at = lines.find('\n', at)) != std::string::npos; at += 30)
      lines.replace(at, 1, "\n" + std::string(29, ' '));
    text += fmt::format("  --{:<24} {}{}\n", o.name, lines, o.text().empty() ? "" : fmt::format(" [{}]", o.text()));
  }
  return text;
}

std::vector<std::string> conflicts(const Config& before, const Config& now) {
  Config a = before, b = now;
  const std::vector<Option> old_options = a.options(), new_options = b.options();
  std::vector<std::string> differing;
  for (std::size_t i = 0; i < old_options.size(); ++i) {
    const std::string& name = old_options[i].name;
    const bool free = name.starts_with("run.") || name.starts_with("stop.") || name.starts_with("eval.") ||
                      name.starts_with("data.") || name == "federation.rounds" || name == "federation.threads" ||
                      name == "federation.deadline" || name == "federation.survive";
    const bool allowed = ("," + now.run.allow + ",").find("," + name + ",") != std::string::npos;
    if (!free && !allowed && old_options[i].text() != new_options[i].text())
      differing.push_back(fmt::format("{} was '{}' and is '{}'", name, old_options[i].text(), new_options[i].text()));
  }
  return differing;
}

}  // namespace fedmpi::federation
