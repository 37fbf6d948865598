#include "federation/config.hpp"

#include <gtest/gtest.h>

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
  void operator()(bool* v) const { *v = !*v; }
  void operator()(std::vector<std::size_t>* v) const { v->push_back(7); }
};

TEST(Config, ReadsBackWhatItWrites) {
  EXPECT_EQ(parsed(Config().ini()).ini(), Config().ini());
  Config changed;
  for (const Option& option : changed.options()) std::visit(Change(), option.target);
  EXPECT_EQ(parsed(changed.ini()).ini(), changed.ini());

  // Each option is read into its own variable.
  std::vector<Option> defaults = changed.options();
  for (std::size_t i = 0; i < defaults.size(); ++i) {
    Config one;
    const Option option = one.options()[i];
    std::visit(Change(), option.target);
    Config back = parsed(one.ini());
    const std::vector<Option> found = back.options();
    Config untouched;
    const std::vector<Option> before = untouched.options();
    for (std::size_t j = 0; j < found.size(); ++j)
      EXPECT_EQ(found[j].text() != before[j].text(), i == j) << option.name << " and " << found[j].name;
  }
}

TEST(Config, KeepsNumbersToTheLastBit) {
  Config c;
  c.client.lr = 0.1 + 0.2;
  c.federation.fraction = 1e-300;
  c.federation.seed = UINT64_MAX;
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
  refused({"--run.dir", "run#1"}, {"run.dir", "'#'"});  // an INI file would not bring it back
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
  refused({"--stop.gradient-tolerance=inf"}, {"stop.gradient-tolerance", "inf"});
  refused({"--stop.target=0.9"}, {"stop.target", "data.test"});
  refused({"--stop.patience=2"}, {"stop.patience", "data.test"});
  refused({"--stop.gradient-tolerance=1e-3"}, {"stop.gradient-tolerance", "fedsgd", "fedavg"});
}

TEST(Config, HelpNamesEveryOption) {
  Config c;
  const std::string help = Config::help();
  for (const Option& option : c.options()) EXPECT_NE(help.find("--" + option.name + " "), std::string::npos);
}

TEST(Conflicts, AreOptionsThatWouldMakeItAnotherRun) {
  const Config before;
  EXPECT_TRUE(conflicts(before, before).empty());
  Config now;
  now.client.lr = 0.5;
  now.model.hidden = {10};
  const Strings found = conflicts(before, now);
  ASSERT_EQ(found.size(), 2u);
  EXPECT_NE(found[0].find("model.hidden"), std::string::npos);
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

TEST(Conflicts, FollowFromTheSeed) {
  Config now;
  now.federation.seed = 2;
  EXPECT_EQ(conflicts(Config(), now).size(), 1u);
}

}  // namespace
}  // namespace fedmpi::federation
