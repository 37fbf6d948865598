#include "checkpoint/run_directory.hpp"

#include <gtest/gtest.h>
#include <signal.h>
#include <unistd.h>

#include <atomic>
#include <chrono>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <thread>

#include "checkpoint/examples.hpp"
#include "support/expect_error.hpp"
#include "support/temporary_directory.hpp"

namespace fedmpi::checkpoint {
namespace {

namespace fs = std::filesystem;
using test::expect_error;
using test::read_file;
using test::write_file;
using Strings = std::vector<std::string>;

class Run : public testing::Test {
 protected:
  RunDirectory run(std::size_t keep = 2) const { return {path_, keep}; }
  std::string file(std::uint64_t round) const { return fmt::format("{}/checkpoint-{:06}.h5", path_, round); }

  // The round of the newest whole checkpoint, and what was said of the damaged ones.
  static std::optional<std::uint64_t> newest(const RunDirectory& run, Strings* notes = nullptr) {
    const auto c = run.newest([&](const std::string& text) {
      if (notes != nullptr) notes->push_back(text);
    });
    return c ? std::optional(c->round) : std::nullopt;
  }

  test::TemporaryDirectory directory_;
  std::string path_ = directory_ / "deep/er/run";
};

std::vector<pid_t> children_of(pid_t parent) {
  std::ifstream list(fmt::format("/proc/{0}/task/{0}/children", parent));
  return {std::istream_iterator<pid_t>(list), {}};
}

TEST_F(Run, MakesItsDirectoryAndLeavesNoneThatWasNotUsed) {
  {
    const RunDirectory r = run();
    EXPECT_TRUE(r.checkpoints().empty());
    EXPECT_TRUE(fs::is_directory(path_));
  }
  EXPECT_FALSE(fs::exists(directory_ / "deep"));
  run().write_config("");
  EXPECT_TRUE(fs::exists(path_ + "/config.ini"));
  fs::remove(path_ + "/config.ini");
  EXPECT_EQ(newest(run()), std::nullopt);
  EXPECT_TRUE(fs::is_directory(path_)) << "it was there before";
  EXPECT_TRUE(fs::is_empty(path_)) << "the lock is gone";
}

TEST_F(Run, MayBeNamedFromTheWorkingDirectory) {
  const fs::path before = fs::current_path();
  fs::current_path(directory_ / ".");
  { const RunDirectory run("near/by", 2); }
  EXPECT_TRUE(fs::is_empty("."));
  fs::current_path(before);
}

TEST_F(Run, RefusesWhatCannotBeADirectory) {
  write_file(directory_ / "file", "");
  expect_error(ExitCode::cannot_create, {"run.dir", directory_ / "file/run"},
               [&] { RunDirectory(directory_ / "file/run", 2); });
}

TEST_F(Run, DoesNotTakeACheckpointForDamagedBecauseItsProbeWasKilled) {
  RunDirectory r = run();
  r.save(snapshot_of(example(1)));
  r.save(snapshot_of(example(2)));
  std::atomic<bool> caught = false;
  std::thread killer([&] {
    while (!caught)
      for (const pid_t server : children_of(getpid()))
        for (const pid_t probe : children_of(server)) kill(probe, SIGKILL);
  });
  for (const auto start = std::chrono::steady_clock::now();
       !caught && std::chrono::steady_clock::now() - start < std::chrono::seconds(20);) {
    Strings notes;
    try {
      EXPECT_EQ(newest(r, &notes), 2u);
    } catch (const Error& error) {
      EXPECT_EQ(error.code(), ExitCode::io) << error.what();
      EXPECT_NE(std::string(error.what()).find(file(2)), std::string::npos) << error.what();
      caught = true;
    }
    EXPECT_EQ(notes, Strings());
  }
  EXPECT_TRUE(caught.exchange(true));
  killer.join();
}

TEST_F(Run, KeepsTheNewestCheckpointsAndALinkToTheLast) {
  RunDirectory r = run(3);
  for (std::uint64_t round = 1; round <= 5; ++round) {
    EXPECT_EQ(r.save(snapshot_of(example(round))), file(round));
    EXPECT_EQ(fs::read_symlink(path_ + "/latest.h5"), fmt::format("checkpoint-{:06}.h5", round));
    EXPECT_EQ(read(path_ + "/latest.h5").round, round);
  }
  EXPECT_EQ(r.checkpoints(), (Strings{file(3), file(4), file(5)}));
  EXPECT_EQ(newest(r), 5u);
  fs::rename(path_, directory_ / "moved");
  EXPECT_EQ(read(directory_ / "moved/latest.h5").round, 5u) << "the link moves along";
}

TEST_F(Run, FallsBackOverDamagedCheckpoints) {
  RunDirectory r = run(5);
  for (std::uint64_t round = 1; round <= 3; ++round) r.save(snapshot_of(example(round)));
  write_file(file(3), read_file(file(3)).substr(0, 500));
  write_file(file(4), "");
  Strings notes;
  EXPECT_EQ(newest(r, &notes), 2u);
  ASSERT_EQ(notes.size(), 2u);
  EXPECT_NE(notes[0].find(file(4)), std::string::npos) << notes[0];
  EXPECT_NE(notes[1].find(file(3)), std::string::npos) << notes[1];

  for (const std::uint64_t round : {1u, 2u}) write_file(file(round), "");
  expect_error(ExitCode::bad_data, {path_, "none of them is whole"}, [&] { newest(r); });
}

TEST_F(Run, OrdersRoundsBeyondAMillion) {
  RunDirectory r = run(3);
  for (const std::uint64_t round : {999'998u, 999'999u, 1'000'000u, 1'000'001u}) {
    Checkpoint c = example(1);
    c.round = round;
    r.save(snapshot_of(c));
  }
  EXPECT_EQ(r.checkpoints(), (Strings{file(999'999), file(1'000'000), file(1'000'001)}));
  EXPECT_EQ(newest(r), 1'000'001u);
}

TEST_F(Run, SetsAsideCheckpointsOfLaterRounds) {
  RunDirectory r = run();
  for (const std::uint64_t round : {1u, 2u, 3u}) r.save(snapshot_of(example(round)));
  r.set_aside_after(3);
  EXPECT_EQ(r.checkpoints(), (Strings{file(2), file(3)}));
  r.set_aside_after(2);
  EXPECT_EQ(r.checkpoints(), Strings{file(2)});
  EXPECT_TRUE(fs::exists(file(3) + ".damaged"));
  EXPECT_EQ(fs::read_symlink(path_ + "/latest.h5"), "checkpoint-000002.h5");
  r.save(snapshot_of(example(4)));
  EXPECT_EQ(r.checkpoints(), (Strings{file(2), file(4)})) << "what was set aside does not count";
  r.set_aside_after(0);
  EXPECT_TRUE(r.checkpoints().empty());
  r.save(snapshot_of(example(5)));
  fs::create_directory(file(5) + ".damaged");
  expect_error(ExitCode::io, {file(5), "cannot be renamed"}, [&] { r.set_aside_after(0); });
}

TEST_F(Run, ACheckpointMayBeWrittenInTheWorkingDirectory) {
  const fs::path before = fs::current_path();
  fs::current_path(directory_ / ".");
  write(example(3), "model.h5");
  EXPECT_EQ(read(directory_ / "model.h5").round, 3u);
  fs::current_path(before);
}

TEST_F(Run, OverlooksOtherFiles) {
  RunDirectory r = run();
  r.save(snapshot_of(example(1)));
  const Strings others = {"/checkpoint-000009.h5.partial", "/notes.txt",         "/checkpoint-000008.csv",
                          "/checkpoint-best.h5",           "/checkpoint-2nd.h5", "/checkpoint-.h5"};
  for (const std::string& name : others) write_file(path_ + name, "x");
  EXPECT_EQ(newest(r), 1u);
  for (const std::uint64_t round : {2u, 3u, 4u}) r.save(snapshot_of(example(round)));
  EXPECT_EQ(r.checkpoints(), (Strings{file(3), file(4)}));
  for (const std::string& name : others) EXPECT_TRUE(fs::exists(path_ + name)) << name;
}

TEST_F(Run, RemovesWhatWasHalfWrittenWhenARunWasKilled) {
  RunDirectory r = run();
  r.save(snapshot_of(example(1)));
  const Strings others = {"/notes.h5.partial", "/checkpoint-000009.h5"};
  for (const std::string& name : others) write_file(path_ + name, "x");
  write_file(path_ + "/checkpoint-000002.h5.partial", "x");
  r.set_aside_after(9);
  EXPECT_FALSE(fs::exists(path_ + "/checkpoint-000002.h5.partial"));
  for (const std::string& name : others) EXPECT_TRUE(fs::exists(path_ + name)) << name;
}

TEST_F(Run, WritesConfigurationAndHistory) {
  RunDirectory r = run();
  r.write_config("[client]\nlr = 0.1\n");
  r.write_config("[client]\nlr = 0.2\n");
  EXPECT_EQ(read_file(path_ + "/config.ini"), "[client]\nlr = 0.2\n");

  const std::vector<Column> all = columns("accuracy");
  const std::vector<Row> rows = example(2).history;
  r.begin_history(all, rows);
  r.append_history(std::span(rows).first(1));
  const std::string expected = csv_header(all) + csv_line(all, rows[0]) + csv_line(all, rows[1]) +
                               csv_line(all, rows[2]) + csv_line(all, rows[0]);
  EXPECT_EQ(read_file(path_ + "/history.csv"), expected) << "there to be read while the run goes on";

  r.begin_history(all, std::span(rows).first(1));  // resumed from an earlier round: what came after it goes
  EXPECT_EQ(read_file(path_ + "/history.csv"), csv_header(all) + csv_line(all, rows[0]));
}

}  // namespace
}  // namespace fedmpi::checkpoint
