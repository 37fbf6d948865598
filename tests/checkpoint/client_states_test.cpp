#include "checkpoint/client_states.hpp"

#include <gtest/gtest.h>

#include <filesystem>
#include <fstream>

#include "support/examples.hpp"
#include "support/expect_error.hpp"
#include "support/temporary_directory.hpp"

namespace fedmpi::checkpoint {
namespace {

namespace fs = std::filesystem;

Layout kept() {
  Layout layout;
  layout.add("", "control", {5});
  layout.add("residual", "kernel", {2, 3});
  return layout;
}

// Of clients 10 to 29 those that are even, each something else.
struct Example : client::States {
  Example();
};

Example::Example() : client::States(kept()) {
  for (data::ClientId id = 10; id < 30; id += 2) {
    const Vector values = test::random_vector(kept().size(), 1.0, id);
    std::copy(values.begin(), values.end(), next(id).begin());
  }
  keep();
}

class ClientStates : public testing::Test {
 protected:
  test::TemporaryDirectory directory_;
  std::string path_ = directory_ / "run";
};

TEST_F(ClientStates, AreFoundByClientWhoeverHostsThem) {
  const Example states;
  const std::vector<ClientRun> runs = {{10, 20}, {20, 30}, {30, 40}};
  write_client_states(states, runs, path_, 7);
  EXPECT_TRUE(fs::exists(path_ + "/clients-000007/00000010-00000019.h5"));
  EXPECT_FALSE(fs::exists(path_ + "/clients-000007/00000030-00000039.h5")) << "nobody there keeps anything";

  client::StatesSum sum;
  for (const ClientRun run : {ClientRun{0, 13}, ClientRun{13, 25}, ClientRun{25, 100}}) {
    client::States part((kept()));
    read_client_states(part, std::span(&run, 1), path_, 7);
    sum.clients += part.sum().clients;
    sum.checksum += part.sum().checksum;
    if (run.first == 13) {
      EXPECT_TRUE(std::ranges::equal(part.of(24), states.of(24)));
    }
  }
  EXPECT_EQ(sum, states.sum());
}

TEST_F(ClientStates, AreThoseOfTheirRound) {
  const Example states;
  const ClientRun all = {0, 100};
  write_client_states(states, std::span(&all, 1), path_, 7);
  client::States other((kept()));
  read_client_states(other, std::span(&all, 1), path_, 8);
  EXPECT_EQ(other.sum(), client::StatesSum());
}

TEST_F(ClientStates, ThatAreDamagedOrOfAnotherLayoutAreRefused) {
  const ClientRun all = {0, 100};
  write_client_states(Example(), std::span(&all, 1), path_, 7);
  const std::string file = path_ + "/clients-000007/00000000-00000099.h5";
  Layout layout;
  layout.add("", "control", {6});
  client::States other(layout), same((kept()));
  test::expect_error(ExitCode::bad_data, {file, "control", "10 × 6", "10 × 5"},
                     [&] { read_client_states(other, std::span(&all, 1), path_, 7); });
  fs::resize_file(file, fs::file_size(file) / 2);
  test::expect_error(ExitCode::bad_data, {file}, [&] { read_client_states(same, std::span(&all, 1), path_, 7); });
}

TEST_F(ClientStates, OfUnwantedRoundsAreRemoved) {
  const ClientRun all = {0, 100};
  for (const std::uint64_t round : {1u, 2u, 3u}) write_client_states(Example(), std::span(&all, 1), path_, round);
  std::ofstream(path_ + "/clients-of-mine.txt") << "stays";
  remove_client_states(path_, [](std::uint64_t round) { return round < 3; });
  EXPECT_FALSE(fs::exists(path_ + "/clients-000002"));
  EXPECT_TRUE(fs::exists(path_ + "/clients-000003"));
  EXPECT_TRUE(fs::exists(path_ + "/clients-of-mine.txt"));
}

TEST_F(ClientStates, CannotBeWrittenWhereThereIsNoDirectory) {
  const ClientRun all = {0, 100};
  std::ofstream(path_) << "a file";
  test::expect_error(ExitCode::cannot_create, {path_},
                     [&] { write_client_states(Example(), std::span(&all, 1), path_, 1); });
}

}  // namespace
}  // namespace fedmpi::checkpoint
