#include "federation/stopping.hpp"

#include <gtest/gtest.h>

#include <csignal>
#include <cstdlib>

#include "support/expect_error.hpp"

namespace fedmpi::federation {
namespace {

using checkpoint::kUnknown;
using checkpoint::Row;
using data::Task;
using test::expect_error;

Config endless() {
  Config c;
  c.federation.rounds = 1000;
  return c;
}

// Rounds 0, 1, … with these test losses.
std::vector<Row> losses(const std::vector<double>& values) {
  std::vector<Row> history(values.size());
  for (std::size_t i = 0; i < values.size(); ++i) {
    history[i].round = i;
    history[i].test_loss = values[i];
  }
  return history;
}

Row row(std::uint64_t round, double metric, double update_norm) {
  Row r;
  r.clients = round > 0 ? 3 : 0;
  r.round = round;
  r.test_metric = metric;
  r.update_norm = update_norm;
  return r;
}

bool stops(const Config& c, const std::vector<Row>& history, Task task = Task::classification) {
  const auto stop = stop_by_history(c, task, history);
  EXPECT_TRUE(!stop || (stop->complete && !stop->reason.empty()));
  return stop.has_value();
}
bool stops(const Config& c, const Row& last, Task task = Task::classification) {
  return stops(c, std::vector<Row>{last}, task);
}

TEST(StopByHistory, KnowsTargetsThatCannotBeReached) {
  StopOptions percent;
  percent.target = 85;
  expect_error(ExitCode::usage, {"stop.target", "from 0 to 1", "85"},
               [&] { check_target(percent, Task::classification); });
  EXPECT_NO_THROW(check_target(percent, Task::regression)) << "an RMSE";
  percent.target = 1;
  EXPECT_NO_THROW(check_target(percent, Task::classification));
}

TEST(StopByHistory, EndsAfterTheRounds) {
  Config c;
  c.federation.rounds = 3;
  EXPECT_FALSE(stops(c, row(2, 0, 1)));
  EXPECT_TRUE(stops(c, row(3, 0, 1)));
  EXPECT_TRUE(stops(c, row(4, 0, 1))) << "resumed with fewer rounds";
  c.federation.rounds = 0;
  EXPECT_TRUE(stops(c, row(0, 0, kUnknown)));
}

TEST(StopByHistory, EndsAtTheTargetOnItsSide) {
  Config c = endless();
  EXPECT_FALSE(stops(c, row(1, 1.0, 1)));
  c.stop.target = 0.9;
  EXPECT_FALSE(stops(c, row(1, 0.89, 1)));
  EXPECT_TRUE(stops(c, row(1, 0.9, 1)));
  EXPECT_TRUE(stops(c, row(1, 0.95, 1)));
  EXPECT_FALSE(stops(c, row(1, kUnknown, 1))) << "not evaluated";
  EXPECT_FALSE(stops(c, row(1, 0.95, 1), Task::regression));
  EXPECT_TRUE(stops(c, row(1, 0.85, 1), Task::regression));
}

TEST(StopByHistory, EndsWhenTheUpdateIsSmall) {
  Config c = endless();
  c.stop.tolerance = 1e-3;
  EXPECT_FALSE(stops(c, row(5, 0, 1.1e-3)));
  EXPECT_TRUE(stops(c, row(5, 0, 0.9e-3)));
  EXPECT_FALSE(stops(c, row(0, 0, 0.0))) << "before the first round there is no update";
  EXPECT_FALSE(stops(c, row(5, 0, kUnknown)));
  Row nobody = row(5, 0, 0.0);
  nobody.clients = 0;
  EXPECT_FALSE(stops(c, nobody)) << "a round without clients is no convergence";
}

TEST(StopByHistory, EndsWhenTheGradientIsSmall) {
  Config c = endless();
  c.client.algorithm = "fedsgd";
  c.client.lr = 0.1;
  c.client.lr_decay = 0.5;
  c.stop.gradient_tolerance = 1.0;
  EXPECT_FALSE(stops(c, row(1, 0, 0.11)));
  EXPECT_TRUE(stops(c, row(1, 0, 0.09)));
  EXPECT_FALSE(stops(c, row(3, 0, 0.026)));  // η is 0.025 by now
  EXPECT_TRUE(stops(c, row(3, 0, 0.024)));
  EXPECT_FALSE(stops(c, row(0, 0, 0.0)));
}

TEST(StopByHistory, EndsWhenPatienceDoes) {
  Config c = endless();
  EXPECT_FALSE(stops(c, losses({3, 4, 5, 6, 7})));
  c.stop.patience = 2;
  EXPECT_FALSE(stops(c, losses({3, 2, 1})));
  EXPECT_FALSE(stops(c, losses({3, 2, 2.5})));
  EXPECT_TRUE(stops(c, losses({3, 2, 2.5, 2.1})));
  EXPECT_TRUE(stops(c, losses({3, 2, 2, 2}))) << "as good is not better";
  EXPECT_FALSE(stops(c, losses({3, 2, 2.5, 1.9, 2})));
  EXPECT_FALSE(stops(c, losses({1, 4, 3, 2}))) << "the untrained model does not count";
  EXPECT_TRUE(stops(c, losses({1, 2, 4, 3})));
  EXPECT_FALSE(stops(c, losses({3, 2, kUnknown, kUnknown, 2.5}))) << "what was not evaluated does not count";
  EXPECT_TRUE(stops(c, losses({3, 2, kUnknown, 2.5, kUnknown, 2.5})));
}

TEST(StopByHistory, CountsOnlyEvaluationsThatWereDue) {
  Config c = endless();
  c.stop.patience = 2;
  c.eval.every = 2;
  EXPECT_FALSE(stops(c, losses({9, kUnknown, 1, 2, 2})));
  EXPECT_TRUE(stops(c, losses({9, kUnknown, 1, kUnknown, 2, kUnknown, 2})));
  c.eval.every = 0;
  EXPECT_FALSE(stops(c, losses({1, 2, 2, 2, 2})));
}

Row timed(double seconds, double checkpoint) {
  Row r;
  r.seconds = seconds;
  r.seconds_checkpoint = checkpoint;
  return r;
}

TEST(Clock, StopsWhileTwoOfTheLongestRoundsFit) {
  Clock clock(60.0);
  EXPECT_FALSE(clock.stop(59.0));
  clock.record(timed(10.0, 0.0));
  clock.record(timed(4.0, 0.0));
  EXPECT_FALSE(clock.stop(39.0));
  const auto stop = clock.stop(41.0);
  ASSERT_TRUE(stop);
  EXPECT_FALSE(stop->complete) << "to be resumed";
  EXPECT_TRUE(clock.stop(70.0));
}

TEST(Clock, KeepsTimeForTwoOfTheLongestCheckpoints) {
  Clock clock(60.0);
  clock.record(timed(10.0, 0.0));
  clock.record(timed(8.0, 5.0));  // 3 s of round
  EXPECT_FALSE(clock.stop(29.0)) << "2 · (10 + 5) s";
  EXPECT_TRUE(clock.stop(31.0));
}

TEST(Clock, KnowsFromEarlierJobsHowLongACheckpointTakes) {
  Clock clock(60.0);
  clock.record_earlier(timed(20.0, 50.0));
  clock.record_earlier(timed(20.0, 5.0));
  clock.record_earlier(timed(20.0, 0.0));
  clock.record(timed(1.0, 0.0));
  EXPECT_FALSE(clock.stop(47.0)) << "2 · (1 + 5) s: once it was slower, but that was another day";
  EXPECT_TRUE(clock.stop(49.0));
}

TEST(Clock, LetsAJobMakeOneRound) {
  Clock clock(60.0);
  clock.record_earlier(timed(20.0, 40.0));
  EXPECT_FALSE(clock.stop(1.0)) << "else it would be queued again for ever";
  EXPECT_TRUE(clock.stop(61.0));
  clock.record(timed(1.0, 0.0));
  EXPECT_TRUE(clock.stop(2.0));
}

TEST(Clock, WantsACheckpointUntilItKnows) {
  EXPECT_FALSE(Clock(Clock::kNever).wants_checkpoint());
  Clock clock(60.0);
  clock.record(timed(1.0, 0.0));
  EXPECT_TRUE(clock.wants_checkpoint());
  clock.record(timed(1.0, 0.5));
  EXPECT_FALSE(clock.wants_checkpoint());
}

TEST(Clock, WithoutALimitNeverStops) {
  Clock clock(Clock::kNever);
  clock.record(timed(1e6, 1.0));
  EXPECT_FALSE(clock.stop(1e9));
}

TEST(SecondsAllowed, IsTheNearerOfOptionAndJob) {
  const auto allowed = [](double minutes, const char* end) {
    StopOptions options;
    options.minutes = minutes;
    setenv("SLURM_JOB_END_TIME", end, 1);
    const double seconds = seconds_allowed(options, 1'000'000);
    unsetenv("SLURM_JOB_END_TIME");
    return seconds;
  };
  EXPECT_EQ(allowed(0, ""), Clock::kNever);
  EXPECT_EQ(allowed(2, ""), 120.0);
  EXPECT_LT(allowed(0, "1000100"), 100.0);
  EXPECT_GT(allowed(0, "1000100"), 80.0);
  EXPECT_EQ(allowed(1, "1000100"), 60.0);
  EXPECT_LT(allowed(2, "1000100"), 100.0);
  EXPECT_LT(allowed(0, "999999"), 0.0) << "the job's end has passed";
  EXPECT_EQ(allowed(0, "0"), Clock::kNever);
  expect_error(ExitCode::usage, {"SLURM_JOB_END_TIME", "tomorrow"}, [&] { allowed(0, "tomorrow"); });
  unsetenv("SLURM_JOB_END_TIME");
}

// In a process of its own, since a process is preempted once.
TEST(Preemption, IsNotedUntilTheRoundEnds) {
  const auto preempted = [] {
    catch_preemption();
    if (stop_by_signal()) std::exit(1);
    std::raise(SIGUSR1);
    const auto stop = stop_by_signal();
    std::exit(stop && !stop->complete ? 0 : 2);
  };
  EXPECT_EXIT(preempted(), testing::ExitedWithCode(0), "");
}

}  // namespace
}  // namespace fedmpi::federation
