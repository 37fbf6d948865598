#include "data/import/sources.hpp"

#include <cmath>
#include <map>
#include <sstream>

#include "data/import/text.hpp"
#include "fixtures.hpp"
#include "hdf5/file.hpp"

namespace fedmpi::data {
namespace {

using test::expect_error;
using test::read_all;
using test::TemporaryDirectory;

TEST(Sources, AnswersAnUnknownKindWithTheKnownOnes) {
  expect_error(ExitCode::usage, {"'zip'", "idx, csv, libsvm, tff, synthetic, linear"},
               [] { open_source("zip:x", {}); });
  expect_error(ExitCode::usage, {"idx:DIR", "'idx'"}, [] { open_source("idx", {}); });
}

TEST(Sources, RefusesOptionsOfOtherKinds) {
  SourceOptions options;
  options.label = "y";
  expect_error(ExitCode::usage, {"--label", "idx"}, [&] { open_source("idx:.", options); });
  options = {};
  options.features = 3;
  expect_error(ExitCode::usage, {"--features", "csv"}, [&] { open_source("csv:x", options); });
  options = {};
  options.drop = {""};
  expect_error(ExitCode::usage, {"--drop", "libsvm"}, [&] { open_source("libsvm:x", options); });
  options = {};
  options.zero_based = true;
  expect_error(ExitCode::usage, {"--zero-based", "csv"}, [&] { open_source("csv:x", options); });
  options = {};
  options.task = Task::regression;
  expect_error(ExitCode::usage, {"--task", "synthetic"}, [&] { open_source("synthetic:1,1", options); });
  options = {};
  options.test = "t";
  expect_error(ExitCode::usage, {"--test", "linear"}, [&] { open_source("linear:", options); });
  expect_error(ExitCode::usage, {"--label COLUMN"}, [&] { open_source("csv:x", {}); });
}

TEST(Sources, RefusesMalformedGenerators) {
  for (const char* bad : {"synthetic:", "synthetic:1", "synthetic:1,2,3", "synthetic:-1,0", "synthetic:a,b",
                          "linear:x=1", "linear:features=0", "linear:features=1.5", "linear:noise=-1",
                          "linear:features", "linear:,", "linear:features=1000000,targets=1000"})
    expect_error(ExitCode::usage, {"found"}, [&] { open_source(bad, {}); });
  SourceOptions options;
  options.clients = static_cast<std::size_t>(-1);
  expect_error(ExitCode::usage, {"--clients"}, [&] { open_source("synthetic:1,1", options); });
}

TEST(Sources, RefusesTestDataOfAnotherShape) {
  const TemporaryDirectory dir;
  for (const std::size_t width : {3U, 4U}) {
    hdf5::File file = hdf5::File::create(dir / (std::to_string(width) + ".h5"));
    const std::vector<float> x(width);
    file.create_dataset<float>("/examples/a/x", {1, width}).write(0, 1, std::span<const float>(x));
    const std::vector<std::int32_t> y = {0};
    file.create_dataset<std::int32_t>("/examples/a/y", {1}).write(0, 1, std::span<const std::int32_t>(y));
    file.close();
  }
  {
    hdf5::File file = hdf5::File::create(dir / "bytes.h5");
    const std::vector<std::uint8_t> x(3);
    file.create_dataset<std::uint8_t>("/examples/a/x", {1, 3}).write(0, 1, std::span<const std::uint8_t>(x));
    const std::vector<std::int32_t> y = {0};
    file.create_dataset<std::int32_t>("/examples/a/y", {1}).write(0, 1, std::span<const std::int32_t>(y));
    file.close();
  }
  SourceOptions options;
  options.test = dir / "bytes.h5";
  expect_error(ExitCode::bad_data, {"of 3 float32 features", "found 3 uint8"},
               [&] { open_source("tff:" + (dir / "3.h5"), options); });
  options.test = dir / "4.h5";
  expect_error(ExitCode::bad_data, {"of 3 float32 features", "found 4 float32"},
               [&] { open_source("tff:" + (dir / "3.h5"), options); });
  options.test = dir / "3.h5";
  EXPECT_NE(open_source("tff:" + (dir / "3.h5"), options).test, nullptr);
}

TEST(Synthetic, IsAFunctionOfTheSeed) {
  SourceOptions options;
  options.clients = 3;
  options.seed = 5;
  const auto rows = read_all(*open_source("synthetic:1,1", options).train);
  EXPECT_EQ(read_all(*open_source("synthetic:1,1", options).train), rows);
  options.seed = 6;
  EXPECT_NE(read_all(*open_source("synthetic:1,1", options).train), rows);
}

TEST(Synthetic, HasThePapersClients) {
  const Input input = open_source("synthetic:0.5,0.5", {});
  EXPECT_EQ(input.train->schema().classes, 10U);
  EXPECT_EQ(input.train->schema().feature_shape, std::vector<std::size_t>{60});
  EXPECT_EQ(input.train->client_names().size(), 30U);
  std::map<std::uint64_t, std::vector<test::Row>> clients;
  for (const test::Row& row : read_all(*input.train)) clients[row.client].push_back(row);
  ASSERT_EQ(clients.size(), 30U);
  for (const auto& [id, rows] : clients) {
    ASSERT_GE(rows.size(), 50U);
    // x_j ~ N(v_j, j^-1.2) around a centre of the client's own: the spread falls from 1 to 60^-0.6 = 0.086.
    for (const auto& [feature, deviation] : {std::pair{0U, 1.0}, std::pair{59U, 0.0857}}) {
      double sum = 0, squares = 0;
      for (const test::Row& row : rows) {
        sum += row.features[feature];
        squares += row.features[feature] * row.features[feature];
      }
      const double n = static_cast<double>(rows.size()), variance = (squares - sum * sum / n) / (n - 1);
      EXPECT_NEAR(std::sqrt(variance) / deviation, 1.0, 5.0 / std::sqrt(2.0 * n)) << "client " << id;
    }
  }
}

TEST(Synthetic, ClientsDifferMoreWithBeta) {
  const auto spread_of_centres = [](const char* specification) {
    SourceOptions options;
    options.clients = 60;
    std::map<std::uint64_t, std::pair<double, double>> means;
    for (const test::Row& row : read_all(*open_source(specification, options).train))
      for (const float x : row.features) {
        means[row.client].first += x;
        means[row.client].second += 1;
      }
    double sum = 0, squares = 0;
    for (const auto& [id, m] : means) {
      const double mean = m.first / m.second;
      sum += mean;
      squares += mean * mean;
    }
    return std::sqrt(squares / 60 - sum * sum / 3600);
  };
  EXPECT_LT(spread_of_centres("synthetic:0,0"), 0.25);  // B = 0: a mean of 60 unit normals
  EXPECT_GT(spread_of_centres("synthetic:0,2"), 1.4);   // B ~ N(0, 2²)
}

TEST(Linear, FollowsItsSolution) {
  const Input input = open_source("linear:features=3,examples=200,noise=0,targets=2", {});
  EXPECT_EQ(input.train->schema().task, Task::regression);
  EXPECT_EQ(input.train->schema().targets, 2U);
  std::istringstream text(input.solution);
  std::string line;
  std::getline(text, line);
  EXPECT_EQ(line, "feature,target_0,target_1");
  std::vector<std::vector<float>> weights;
  while (std::getline(text, line)) {
    const auto fields = split(line, ',');
    ASSERT_EQ(fields.size(), 3U);
    EXPECT_EQ(fields[0], weights.size() == 3 ? "bias" : std::to_string(weights.size()));
    weights.push_back({parse_float(fields[1]).value(), parse_float(fields[2]).value()});
  }
  ASSERT_EQ(weights.size(), 4U);
  const auto rows = read_all(*input.train);
  ASSERT_EQ(rows.size(), 200U);
  for (const test::Row& row : rows)
    for (std::size_t k = 0; k < 2; ++k) {
      float y = weights[3][k];
      for (std::size_t j = 0; j < 3; ++j) y += weights[j][k] * row.features[j];
      EXPECT_NEAR(row.target[k], y, 1e-5);
    }
}

TEST(Linear, AddsTheNoiseThatIsAsked) {
  const auto clean = read_all(*open_source("linear:examples=4000,noise=0", {}).train);
  const auto noisy = read_all(*open_source("linear:examples=4000,noise=0.5", {}).train);
  double squares = 0;
  for (std::size_t i = 0; i < clean.size(); ++i) {
    EXPECT_EQ(clean[i].features[0], noisy[i].features[0]);
    const double difference = noisy[i].target[0] - clean[i].target[0];
    squares += difference * difference;
  }
  EXPECT_NEAR(std::sqrt(squares / 4000), 0.5, 0.03);
}

}  // namespace
}  // namespace fedmpi::data
