#include "federation/config.hpp"

#include <gtest/gtest.h>

#include <algorithm>

#include "base/names.hpp"
#include "support/expect_error.hpp"
#include "support/temporary_directory.hpp"

namespace fedmpi::federation {
namespace {

using test::expect_error;
using Strings = std::vector<std::string>;

Config parsed(const std::string& ini) { return Config::from_ini(ini, "job.ini"); }
void refuses(const std::string& ini, const Strings& parts) {
  expect_error(ExitCode::usage, parts, [&] { parsed(ini); });
}

// Another value of the same kind for every option.
struct Change {
  void operator()(std::string* v) const { *v += "other"; }
  void operator()(std::int64_t* v) const { *v += 3; }
  void operator()(std::uint64_t* v) const { *v += 3; }
  void operator()(double* v) const { *v += 0.1; }
  void operator()(std::optional<double>* v) const { *v = v->value_or(0.0) + 0.1; }
  void operator()(bool* v) const { *v = !*v; }
  void operator()(std::vector<std::size_t>* v) const { v->push_back(7); }
};

TEST(Config, ReadsBackWhatItWrites) {
  EXPECT_EQ(parsed(Config().ini()).ini(), Config().ini());
  Config changed;
  for (const Option& option : changed.options()) std::visit(Change(), option.target);
  EXPECT_EQ(parsed(changed.ini()).ini(), changed.ini());

  // Each option is read into its own variable.
  for (std::size_t i = 0; i < Config().options().size(); ++i) {
    Config one;
    one.server.lr = 0.5;  // not by the optimizer
    const std::vector<Option> options = one.options();
    if (const Readers readers = readers_of(options, options[i]); readers.by != nullptr)
      readers.by->set(readers.names.front());
    Config before = parsed(one.ini());
    std::visit(Change(), options[i].target);
    Config after = parsed(one.ini());
    const std::vector<Option> was = before.options(), is = after.options();
    for (std::size_t j = 0; j < is.size(); ++j)
      EXPECT_EQ(is[j].text() != was[j].text(), i == j) << options[i].name << " and " << is[j].name;
  }
}

TEST(Config, KeepsNumbersToTheLastBit) {
  Config c;
  c.client.lr = 0.1 + 0.2;
  c.federation.fraction = 1e-300;
  c.federation.seed = UINT64_MAX;
  c.model.kind = "mlp";
  c.model.hidden = {};
  const Config back = parsed(c.ini());
  EXPECT_EQ(back.client.lr, c.client.lr);
  EXPECT_EQ(back.federation.fraction, 1e-300);
  EXPECT_EQ(back.federation.seed, UINT64_MAX);
  EXPECT_TRUE(back.model.hidden.empty());
}

TEST(Config, ReadsAnIniFile) {
  const test::TemporaryDirectory directory;
  test::write_file(directory / "job.ini",
                   "# a comment\n[client]\nlr = 0.25   # another\n\n[model]\r\n  hidden=20,10\n");
  const Config c = Config::from_file(directory / "job.ini");
  EXPECT_EQ(c.client.lr, 0.25);
  EXPECT_EQ(c.model.hidden, (std::vector<std::size_t>{20, 10}));
  EXPECT_EQ(c.client.batch, Config().client.batch);
  expect_error(ExitCode::usage, {directory / "none.ini"}, [&] { Config::from_file(directory / "none.ini"); });
}

TEST(Config, BringsBackWhatAnIniFileCanHold) {
  for (const char* dir : {"exp#2", "a b", "a;b", "a=b", "[a]", "ä"}) {
    Config c;
    c.apply({"--run.dir", dir});
    EXPECT_EQ(parsed(c.ini()).run.dir, dir);
  }
  Config c;
  for (const char* dir : {"#2", "a #2", "a\t;2", ";", " a", "a\n", "a\r"})
    expect_error(ExitCode::usage, {"run.dir", dir}, [&] { c.apply({"--run.dir", dir}); });
  c.data.shards = "shards";
  c.run.dir = "a # b";  // by a program
  expect_error(ExitCode::usage, {"run.dir", "a # b"}, [&] { c.check(); });
}

TEST(Config, AnswersUnknownNamesWithTheKnownOnes) {
  refuses("[client]\nlr = 0.1\nlearning-rate = 0.1\n",
          {"job.ini:3: ", "'client.learning-rate'", "client.lr", "client.momentum"});
  refuses("[clint]\nlr = 0.1\n", {"job.ini:2: ", "'clint.lr'", "client", "federation", "run"});
  refuses("lr = 0.1\n", {"job.ini:1: ", "'lr'", "client"});
  Config c;
  expect_error(ExitCode::usage, {"'client.rate'", "client.lr-decay"}, [&] { c.apply({"--client.rate", "0.1"}); });
  expect_error(ExitCode::usage, {"'rate'"}, [&] { c.apply({"--rate=0.1"}); });
}

TEST(Config, NamesFileAndLineOfABadValue) {
  refuses("[model]\nkind = mlp\n[client]\n\n  lr = fast\n", {"job.ini:5: ", "client.lr", "a number", "'fast'"});
  refuses("[federation]\nrounds = 1.5\n", {"job.ini:2: ", "federation.rounds", "whole number", "'1.5'"});
  refuses("[data]\nskip-bad = maybe\n", {"job.ini:2: ", "data.skip-bad", "on or off", "'maybe'"});
  refuses("[client]\nlr = 0.1\nlr = 0.2\n", {"job.ini:", "'client.lr'", "twice"});
}

TEST(Config, NamesFileAndLineOfABadLine) {
  refuses("[client]\nlr 0.1\n", {"job.ini:2: ", "key = value", "lr 0.1"});
  refuses("[client\nlr = 0.1\n", {"job.ini:1: "});
  refuses("\n= 3\n", {"job.ini:2: "});
}

TEST(Config, TakesArgumentsOverWhatIsThere) {
  Config c = parsed("[client]\nlr = 0.5\nbatch = 20\n");
  c.apply({"--client.lr", "0.25", "--federation.rounds=7", "--model.hidden", "5,6", "--stop.target", "0.9"});
  EXPECT_EQ(c.client.lr, 0.25);
  EXPECT_EQ(c.client.batch, 20);
  EXPECT_EQ(c.federation.rounds, 7);
  EXPECT_EQ(c.model.hidden, (std::vector<std::size_t>{5, 6}));
  EXPECT_EQ(c.stop.target, 0.9);
}

TEST(Config, RefusesArgumentsThatAreNotOptions) {
  Config c;
  const auto refused = [&](const Strings& arguments, const Strings& parts) {
    expect_error(ExitCode::usage, parts, [&] { c.apply(arguments); });
  };
  refused({"shards/"}, {"--section.key", "'shards/'"});
  refused({"--client.lr", "0.1", "0.2"}, {"'0.2'"});
  refused({"--client.lr", "x"}, {"client.lr", "'x'"});
  refused({"--client.lr"}, {"client.lr"});
  refused({"--run.dir", "run #1"}, {"run.dir", "'#'"});  // an INI file would not bring it back
  refused({"--run.dir", "run "}, {"run.dir", "blanks"});
  refused({"--client.l", "0.1"}, {"client.l"});  // no guessing at beginnings of names
}

TEST(Config, ChecksValues) {
  const auto refused = [](const Strings& arguments, const Strings& parts) {
    Config c;
    c.data.shards = "shards";
    c.check();
    c.apply(arguments);
    expect_error(ExitCode::usage, parts, [&] { c.check(); });
  };
  refused({"--data.shards", ""}, {"data.shards"});
  refused({"--federation.rounds=-1"}, {"federation.rounds", "-1"});
  refused({"--federation.cohort=-1"}, {"federation.cohort", "-1"});
  refused({"--federation.fraction=0"}, {"federation.fraction", "0"});
  refused({"--federation.fraction=1.5"}, {"federation.fraction", "1.5"});
  refused({"--federation.fraction=nan"}, {"federation.fraction", "nan"});
  refused({"--federation.threads=0"}, {"federation.threads", "0"});
  refused({"--federation.sampling=half"}, {"federation.sampling", "half", "poisson"});
  refused({"--federation.bad-update=keep"}, {"federation.bad-update", "keep", "abort"});
  refused({"--aggregate.kind=sum"}, {"aggregate.kind", "sum", "median"});
  refused({"--aggregate.weights=size"}, {"aggregate.weights", "size"});
  refused({"--eval.every=-1"}, {"eval.every"});
  refused({"--run.keep=1"}, {"run.keep", "1"});
  refused({"--run.checkpoint-every=-1"}, {"run.checkpoint-every"});
  refused({"--stop.minutes=-1"}, {"stop.minutes"});
  refused({"--stop.tolerance=-1"}, {"stop.tolerance", "-1"});
  refused({"--client.algorithm=fedsgd", "--stop.gradient-tolerance=inf"}, {"stop.gradient-tolerance", "inf"});
  refused({"--stop.target=0.9"}, {"stop.target", "data.test"});
  refused({"--stop.patience=2"}, {"stop.patience", "data.test"});
  refused({"--stop.gradient-tolerance=1e-3"}, {"stop.gradient-tolerance", "fedsgd", "fedavg"});
}

Config with(const Strings& arguments) {
  Config c;
  c.data.shards = "shards";
  c.apply(arguments);
  return c;
}

// Every option that some choice reads, with every choice of the option that has it.
TEST(Config, RefusesWhatTheChoiceMadeDoesNotRead) {
  Config defaults;
  const std::vector<Option> options = defaults.options();
  int refusals = 0;
  for (const Option& option : options) {
    const Readers readers = readers_of(options, option);
    if (readers.by == nullptr) continue;
    for (const Choice& choice : readers.by->choices) {
      const Config c = with({"--" + readers.by->name, choice.name, "--" + option.name, option.text()});
      if (std::count(readers.names.begin(), readers.names.end(), choice.name) > 0) {
        EXPECT_NO_THROW(c.check()) << option.name << " with " << choice.name;
        EXPECT_EQ(parsed(c.ini()).given.count(option.name), 1u);
      } else {
        ++refusals;
        expect_error(
            ExitCode::usage,
            {option.name + ": " + readers.by->name + " " + choice.name + " does not read it; " + readers.names.front()},
            [&] { c.check(); });
        EXPECT_EQ(parsed(c.ini()).given.count(option.name), 0u);
      }
    }
  }
  EXPECT_GT(refusals, 10);
}

TEST(Config, SaysWhereWhatIsNotReadWasGiven) {
  Config c = parsed("[data]\nshards = s\n[client]\nalgorithm = fedsgd\nmomentum = 0.5\n");
  expect_error(ExitCode::usage, {"job.ini:5: client.momentum: client.algorithm fedsgd does not read it; fedavg, fedprox do"},
               [&] { c.check(); });
  c.apply({"--client.algorithm", "fedavg"});
  EXPECT_NO_THROW(c.check());
  c.apply({"--client.algorithm", "fedsgd", "--client.momentum", "0"});
  expect_error(ExitCode::usage, {"client.momentum: client.algorithm fedsgd does not"}, [&] { c.check(); });
  Config by_program = with({"--client.algorithm", "fedsgd"});
  by_program.client.epochs = 3;
  expect_error(ExitCode::usage, {"client.epochs", "fedsgd"}, [&] { by_program.check(); });
}

TEST(Config, KnowsTheValuesOfEveryOptionThatIsRead) {
  Config defaults;
  for (const Option& option : defaults.options()) {
    if (option.choices.empty()) continue;
    const auto readers = readers_of(defaults.options(), option);
    Strings arguments = {"--" + option.name, "bogus"};
    if (readers.by != nullptr) arguments.insert(arguments.end(), {"--" + readers.by->name, readers.names.front()});
    expect_error(ExitCode::usage, {option.name, "'bogus'", names_of(option.choices)}, [&] { with(arguments).check(); });
  }
  expect_error(ExitCode::usage, {"job.ini:2: model.kind", "'cnn9'"},
               [] { parsed("[model]\nkind = cnn9\n[data]\nshards = s").check(); });
}

TEST(Config, ResolvesTheServersLearningRate) {
  const auto written = [](const Strings& arguments) { return parsed(with(arguments).ini()).server.lr; };
  EXPECT_EQ(written({}), 1.0);
  EXPECT_EQ(written({"--server.optimizer", "momentum"}), 1.0);
  EXPECT_EQ(written({"--server.optimizer", "adam"}), 0.01);
  EXPECT_EQ(written({"--server.optimizer", "adam", "--server.lr", "auto"}), 0.01);
  EXPECT_EQ(written({"--server.optimizer", "adam", "--server.lr", "0.5"}), 0.5);
}

TEST(Config, HelpNamesEveryOption) {
  Config c;
  const std::string help = Config::help();
  for (const Option& option : c.options()) EXPECT_NE(help.find("--" + option.name + " "), std::string::npos);
  EXPECT_NE(help.find("momentum of the local steps [0]; read by fedavg, fedprox\n"), std::string::npos);
}

TEST(Config, HelpOfAChoiceHasWhatItReads) {
  const std::string adam = Config::help("server.optimizer", "adam");
  for (const char* part : {"server.optimizer adam: Adam", "--server.lr ", "[0.01]", "--server.beta1 ", "[0.9]"})
    EXPECT_NE(adam.find(part), std::string::npos) << part << " in " << adam;
  EXPECT_EQ(adam.find("--server.momentum"), std::string::npos);
  EXPECT_EQ(adam.find("--server.optimizer"), std::string::npos);
  EXPECT_NE(Config::help("model.loss").find("cross-entropy: "), std::string::npos);
  expect_error(ExitCode::usage, {"server.optimizer", "'eve'", "sgd, "},
               [] { Config::help("server.optimizer", "eve"); });
  expect_error(ExitCode::usage, {"client.lr has no choices", "client.algorithm"},
               [] { Config::help("client.lr", "x"); });
  expect_error(ExitCode::usage, {"'client.algorithms'", "client.algorithm"}, [] { Config::help("client.algorithms"); });
}

TEST(Conflicts, AreOptionsThatWouldMakeItAnotherRun) {
  const Config before;
  EXPECT_TRUE(conflicts(before, before).empty());
  Config now;
  now.client.lr = 0.5;
  now.model.kind = "mlp";
  const Strings found = conflicts(before, now);
  ASSERT_EQ(found.size(), 2u);
  EXPECT_NE(found[0].find("model.kind"), std::string::npos);
  for (const char* part : {"client.lr", "'0.1'", "'0.5'"}) EXPECT_NE(found[1].find(part), std::string::npos);
}

TEST(Conflicts, LeaveOutWhatMayDiffer) {
  Config before, now;
  for (const char* name : {"federation.rounds", "federation.threads", "eval.every", "stop.minutes", "run.dir",
                           "run.keep", "run.resume", "data.shards"})
    for (const Option& option : now.options())
      if (option.name == name) std::visit(Change(), option.target);
  EXPECT_TRUE(conflicts(before, now).empty());

  now.client.lr = 0.5;
  now.client.lr_decay = 0.5;
  now.run.allow = "client.lr-decay";
  EXPECT_EQ(conflicts(before, now).size(), 1u) << "a name that only begins like the one allowed";
  now.run.allow = "client.lr-decay,client.lr";
  EXPECT_TRUE(conflicts(before, now).empty());
}

// Checkpoints of earlier versions list every option, read or not.
TEST(Conflicts, CompareWhatOneOfTheTwoReads) {
  const Config before = parsed("[client]\nalgorithm = fedsgd\nepochs = 5\n[model]\nactivation = tanh\n");
  EXPECT_TRUE(conflicts(before, with({"--client.algorithm", "fedsgd"})).empty());
  const Strings found = conflicts(before, with({"--run.allow", "client.algorithm"}));
  ASSERT_EQ(found.size(), 1u);
  EXPECT_EQ(found[0], "client.epochs was '5' and is '1'");
}

TEST(Conflicts, CompareDefaultsAsTheyWereAndAre) {
  EXPECT_TRUE(conflicts(parsed("[server]\nlr = 1\n"), Config()).empty());
  const Strings found = conflicts(parsed("[server]\noptimizer = adam\nlr = 1\n"), with({"--server.optimizer", "adam"}));
  ASSERT_EQ(found.size(), 1u);
  EXPECT_EQ(found[0], "server.lr was '1' and is '0.01'");
}

TEST(Agreement, LeavesToEachRankWhatItHoldsAndComputesAtOnce) {
  EXPECT_NO_THROW(check_agreement(Config(), with({"--data.shards", "", "--federation.threads=8", "--data.memory=64"})));
  for (const char* other : {"--federation.rounds=7", "--data.test=t", "--client.lr=0.2", "--run.keep=3"}) {
    const std::string word = other, name = word.substr(2, word.find('=') - 2);
    expect_error(ExitCode::usage, {name + ": expected '", "' as on rank 0, found '" + word.substr(word.find('=') + 1)},
                 [&] { check_agreement(with({}), with({other})); });
  }
}

TEST(Conflicts, FollowFromTheSeed) {
  Config now;
  now.federation.seed = 2;
  EXPECT_EQ(conflicts(Config(), now).size(), 1u);
}

}  // namespace
}  // namespace fedmpi::federation
