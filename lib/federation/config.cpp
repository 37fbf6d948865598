#include "federation/config.hpp"

#include <fmt/ranges.h>

#include <boost/program_options.hpp>
#include <cmath>
#include <fstream>
#include <iterator>
#include <sstream>

#include "base/error.hpp"
#include "base/names.hpp"
#include "federation/cohort.hpp"
#include "model/kernels/activations.hpp"
#include "model/kernels/losses.hpp"

namespace fedmpi::federation {

namespace po = boost::program_options;

namespace {

std::vector<Choice> with_auto(const char* summary, std::vector<Choice> choices) {
  choices.insert(choices.begin(), {"auto", summary});
  return choices;
}

}  // namespace

std::vector<Option> Config::options() {
  using enum MayDiffer;
  return {
      {"data.shards", &data.shards, "directory, file or pattern of the training shards", on_resume},
      {"data.test", &data.test, "shard to evaluate on; empty = none", on_resume},
      {"data.skip-bad", &data.skip_bad, "drop and count bad rows instead of refusing the shard", on_resume},
      {"data.memory", &data.memory,
       "MiB of training examples that a participant holds; it reads the others when they take part. 0 = all are held",
       per_rank},
      {"model.kind", &model.kind, "model", no, choices_of(model::kinds())},
      {"model.hidden", &model.hidden, "widths of the hidden layers"},
      {"model.activation", &model.activation, "activation", no, choices_of(model::kernels::activations())},
      {"model.loss", &model.loss, "loss", no,
       with_auto("cross-entropy for classes, squared for numbers", choices_of(model::kernels::losses()))},
      {"model.freeze", &model.freeze, "layers that are not trained, separated by commas (dense_1); empty = none"},
      {"model.l2", &model.l2, "λ of the penalty λ/2 ‖kernels‖²"},
      {"client.algorithm", &client.algorithm, "local training", no, choices_of(client::algorithms())},
      {"client.epochs", &client.epochs, "passes over the client's examples per round"},
      {"client.steps", &client.steps, "if above 0, steps per round instead of epochs"},
      {"client.batch", &client.batch, "examples per step; 0 = all"},
      {"client.lr", &client.lr, "learning rate at the client"},
      {"client.lr-decay", &client.lr_decay, "factor on the learning rate after each round"},
      {"client.momentum", &client.momentum, "momentum of the local steps"},
      {"client.weight-decay", &client.weight_decay, "added to the gradient times the parameters"},
      {"client.proximal", &client.proximal, "μ of the term μ/2 ‖w − w₀‖² that holds clients near the global model w₀"},
      {"update.clip", &update.clip, "largest norm of a client's update, to which longer ones are scaled down; 0 = any"},
      {"server.optimizer", &server.optimizer, "server optimizer", no, choices_of(server::optimizers())},
      {"server.lr", &server.lr, "learning rate at the server; auto = by the optimizer"},
      {"server.momentum", &server.momentum, "factor on the velocity"},
      {"server.beta1", &server.beta1, "decay of the first moment"},
      {"server.beta2", &server.beta2, "decay of the second moment"},
      {"server.epsilon", &server.epsilon, "added to the root of the second moment"},
      {"aggregate.kind", &aggregate.kind, "aggregator", no, choices_of(aggregate::kinds())},
      {"aggregate.weights",
       &aggregate.weights,
       "weight of a client",
       no,
       {{"examples", "in proportion to its examples"}, {"equal", "the same for each"}}},
      {"aggregate.denominator",
       &aggregate.denominator,
       "what the weighted sum is divided by",
       no,
       {{"cohort", "the weight of the clients that arrived"},
        {"expected", "the weight of a cohort on average, the same in every round"}}},
      {"federation.rounds", &federation.rounds, "rounds in all", on_resume},
      {"federation.cohort", &federation.cohort, "clients per round; 0 = by fraction"},
      {"federation.fraction", &federation.fraction, "share of the clients in a round, if no cohort is given"},
      {"federation.sampling", &federation.sampling, "sampling of the cohort", no, choices_of(samplings())},
      {"federation.seed", &federation.seed, "seed of everything random"},
      {"federation.threads", &federation.threads, "clients that a rank trains at once", per_rank},
      {"federation.bad-update",
       &federation.bad_update,
       "a client whose update is not finite",
       no,
       {{"abort", "ends the run, naming it"}, {"drop", "is left out of the round"}}},
      {"federation.deadline", &federation.deadline,
       "seconds that a participant may keep rank 0 waiting, or that a rank may stand still (then 5 at least), before "
       "the run stops, naming it; 0 = any",
       on_resume},
      {"federation.survive", &federation.survive,
       "go on without participants that die or miss the deadline, others taking their clients over (in ten "
       "deadlines); with aggregate.kind mean and eval.clients off",
       on_resume},
      {"eval.every", &eval.every, "rounds between evaluations; 0 = only at the end", on_resume},
      {"eval.clients", &eval.clients, "evaluate on every client's own examples too", on_resume},
      {"stop.target", &stop.target, "stop at this accuracy (or, in regression, RMSE); 0 = never", on_resume},
      {"stop.tolerance", &stop.tolerance, "stop when the norm of the update falls below; 0 = never", on_resume},
      {"stop.gradient-tolerance", &stop.gradient_tolerance,
       "stop when the norm of the mean gradient falls below; 0 = never", on_resume},
      {"stop.patience", &stop.patience,
       "stop after so many evaluations without a better test loss, from round 1 on; 0 = never", on_resume},
      {"stop.minutes", &stop.minutes, "stop, to be resumed, before so many minutes have passed; 0 = never", on_resume},
      {"run.dir", &run.dir, "directory of checkpoints and history", on_resume},
      {"run.checkpoint-every", &run.checkpoint_every, "rounds between checkpoints; 0 = only at the end", on_resume},
      {"run.keep", &run.keep, "checkpoints to keep, at least 2", on_resume},
      {"run.resume", &run.resume,
       "continue from a checkpoint: auto (the newest whole one; with none at all, from the start), no, or a file (or "
       "from the newest one that continued from that)",
       on_resume},
      {"run.allow", &run.allow, "options, separated by commas, that may differ when a run continues", on_resume},
      {"run.client-states", &run.client_states,
       "directory in which participants store what their clients keep between rounds; empty = run.dir", per_rank},
      {"run.shared-memory", &run.shared_memory, "ranks of one node exchange vectors in memory that they share",
       on_resume},
  };
}

Config Config::resolved() const {
  Config config = *this;
  for (const server::Kind& kind : server::optimizers())
    if (!server.lr && server.optimizer == kind.name) config.server.lr = kind.lr;
  return config;
}

Config Config::from_ini(const std::string& text, const std::string& name) {
  Config config;
  const std::vector<Option> known = config.options();
  for (const Setting& setting : read_ini(text, name)) {
    const Option& option = find_option(known, setting.name, setting.where);
    try {
      option.set(setting.value);
    } catch (const Error& error) {
      fail(ExitCode::usage, "{}{}", setting.where, error.what());
    }
    config.given[setting.name] = setting.where;
  }
  return config;
}

std::string Config::text_of(const std::string& path) {
  std::ifstream file(path);
  file.peek();
  if (!file.is_open() || file.bad())
    fail(ExitCode::usage, "{}: expected a configuration file, found none that can be read", path);
  return {std::istreambuf_iterator<char>(file), {}};
}

Config Config::from_file(const std::string& path) { return from_ini(text_of(path), path); }

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
  for (const auto& word : parsed.options) {
    if (word.position_key >= 0)
      fail(ExitCode::usage, "expected options of the form --section.key value, found '{}'", word.value.at(0));
    find_option(known, word.string_key).set(word.value.at(0));
    given[word.string_key] = "";
  }
}

void Config::check() const {
  Config copy = *this, defaults;
  const std::vector<Option> options = copy.options(), untouched = defaults.options();
  const auto origin = [&](const std::string& name) {
    const auto from = given.find(name);
    return from == given.end() ? std::string() : from->second;
  };
  for (std::size_t i = 0; i < options.size(); ++i) {
    const Option& option = options[i];
    const bool read = is_read(options, option);
    if (!read && (given.contains(option.name) || option.text() != untouched[i].text())) {
      const Readers readers = readers_of(options, option);
      fail(ExitCode::usage, "{}{}: {} {} does not read it; {} {}", origin(option.name), option.name, readers.by->name,
           readers.by->text(), fmt::join(readers.names, ", "), readers.names.size() == 1 ? "does" : "do");
    }
    option.set(option.text());  // a text that config.ini cannot hold
    if (read && !option.choices.empty()) find_by_name(option.choices, option.text(), origin(option.name) + option.name);
  }
  const auto require = [&](bool holds, const char* option, const char* expected, auto found) {
    if (!holds) fail(ExitCode::usage, "{}{}: expected {}, found '{}'", origin(option), option, expected, found);
  };
  require(!data.shards.empty(), "data.shards", "the training shards", data.shards);
  require(data.memory >= 0 && data.memory < (std::int64_t{1} << 40), "data.memory", "0 or more MiB", data.memory);
  require(federation.rounds >= 0, "federation.rounds", "0 or more", federation.rounds);
  require(federation.cohort >= 0, "federation.cohort", "0 or more", federation.cohort);
  require(federation.fraction > 0 && federation.fraction <= 1, "federation.fraction", "a number above 0 and up to 1",
          federation.fraction);
  require(federation.threads >= 1 && federation.threads <= 1024, "federation.threads", "1 to 1024", federation.threads);
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
  std::istringstream allowed(run.allow);
  for (std::string name; std::getline(allowed, name, ',');) find_option(options, name, "run.allow: ");
  update::make(update);
  if (federation.survive && federation.deadline == 0)
    fail(ExitCode::usage, "federation.survive needs to know when a participant is lost: set federation.deadline");
  if (federation.survive && (aggregate.kind != "mean" || eval.clients))
    fail(ExitCode::usage, "federation.survive works with aggregate.kind mean and eval.clients off alone");
  if (data.test.empty() && (stop.target > 0 || stop.patience > 0))
    fail(ExitCode::usage, "stop.target and stop.patience need a test shard: set data.test");
  if (stop.patience > 0 && eval.every == 0)
    fail(ExitCode::usage, "stop.patience counts evaluations: set eval.every to 1 or more");
}

std::string Config::ini() const {
  Config config = resolved();
  const std::vector<Option> options = config.options();
  std::string text, section;
  for (const Option& o : options) {
    if (!is_read(options, o)) continue;
    if (o.section() != section) {
      section = o.section();
      text += fmt::format("{}[{}]\n", text.empty() ? "" : "\n", section);
    }
    text += fmt::format("{} = {}\n", o.key(), o.text());
  }
  return text;
}

namespace {

std::string help_of(const std::vector<Option>& options, const Option& option) {
  std::string text = fmt::format("  --{:<24} {}", option.name, option.help);
  if (!option.text().empty()) text += fmt::format(" [{}]", option.text());
  if (const Readers readers = readers_of(options, option);
      readers.by != nullptr && readers.names.size() < readers.by->choices.size())
    text += fmt::format("; read by {}", fmt::join(readers.names, ", "));
  text += '\n';
  for (const Choice& choice : option.choices) text += fmt::format("{:31}{}: {}\n", "", choice.name, choice.summary);
  return text;
}

}  // namespace

std::string Config::help() {
  Config defaults;
  const std::vector<Option> options = defaults.options();
  std::string text;
  for (const Option& o : options) text += help_of(options, o);
  return text;
}

std::string Config::help(const std::string& option) {
  Config defaults;
  const std::vector<Option> options = defaults.options();
  return help_of(options, find_option(options, option));
}

std::string Config::help(const std::string& option, const std::string& choice) {
  Config config;
  const std::vector<Option> known = config.options();
  const Option& by = find_option(known, option);
  if (by.choices.empty()) {
    std::vector<std::string> tables;
    for (const Option& o : known)
      if (!o.choices.empty()) tables.push_back(o.name);
    fail(ExitCode::usage, "{} has no choices; those that have are {}", option, fmt::join(tables, ", "));
  }
  const Choice& row = find_by_name(by.choices, choice, option);
  by.set(choice);
  config = config.resolved();
  std::string text = fmt::format("{} {}: {}\n", option, choice, row.summary);
  for (const Option& o : known)
    if (const Readers readers = readers_of(known, o); readers.by == &by && is_read(known, o)) text += help_of(known, o);
  return text;
}

namespace {

struct Difference {
  std::string name, a, b;
};

// Of two configurations, in options that at least one of them reads and that may differ less than that.
std::vector<Difference> differences(const Config& one, const Config& other, MayDiffer than) {
  Config a = one.resolved(), b = other.resolved();
  const std::vector<Option> in_a = a.options(), in_b = b.options();
  std::vector<Difference> found;
  for (std::size_t i = 0; i < in_a.size(); ++i)
    if (in_a[i].may_differ < than && in_a[i].text() != in_b[i].text() &&
        (is_read(in_a, in_a[i]) || is_read(in_b, in_b[i])))
      found.push_back({in_a[i].name, in_a[i].text(), in_b[i].text()});
  return found;
}

}  // namespace

std::vector<std::string> conflicts(const Config& before, const Config& now) {
  std::vector<std::string> differing;
  for (const Difference& d : differences(before, now, MayDiffer::on_resume))
    if (("," + now.run.allow + ",").find("," + d.name + ",") == std::string::npos)
      differing.push_back(fmt::format("{} was '{}' and is '{}'", d.name, d.a, d.b));
  return differing;
}

void check_agreement(const Config& on_root, const Config& here) {
  for (const Difference& d : differences(on_root, here, MayDiffer::per_rank))
    fail(ExitCode::usage, "{}: expected '{}' as on rank 0, found '{}'", d.name, d.a, d.b);
}

}  // namespace fedmpi::federation
