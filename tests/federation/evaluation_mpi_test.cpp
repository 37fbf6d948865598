// The same scores for any number of threads and ranks.
#include "federation/evaluation.hpp"

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>

#include "support/examples.hpp"

namespace fedmpi::federation {
namespace {

constexpr std::size_t kTestRows = 5 * kEvaluationRows + 77;
const std::vector<std::uint64_t> kClients = {300, 1, 40, 7, 512, 90, 33};

// Rows begin … end-1, in evaluation blocks.
data::Block part_of(const data::Block& whole, std::size_t begin, std::size_t end) {
  data::Block part = whole;
  part.rows = end - begin;
  part.offsets.clear();
  for (std::size_t row = 0; row < part.rows; row += kEvaluationRows) part.offsets.push_back(row);
  part.offsets.push_back(part.rows);
  const auto keep = [&](auto& values, std::size_t width) {
    if (values.empty()) return;
    using Offset = std::ptrdiff_t;
    values.erase(values.begin() + static_cast<Offset>(end * width), values.end());
    values.erase(values.begin(), values.begin() + static_cast<Offset>(begin * width));
  };
  keep(part.numbers, whole.schema.features());
  keep(part.labels, 1);
  keep(part.targets, whole.schema.targets);
  return part;
}

// The test rows in runs of whole blocks over the participants, and the clients dealt out one by one.
Roster roster_for(const mpi::Communicator& comm, const data::Schema& schema) {
  Roster roster;
  roster.schema = schema;
  roster.test_rows = kTestRows;
  for (const std::uint64_t n : kClients) roster.examples += n;
  roster.clients = kClients.size();
  const int me = participant_index(comm);
  if (me < 0) return roster;
  const auto parts = static_cast<std::size_t>(participants(comm)), part = static_cast<std::size_t>(me);
  const std::size_t blocks = (kTestRows + kEvaluationRows - 1) / kEvaluationRows;
  roster.test = part_of(test::random_block(schema, {kTestRows}, 5), blocks * part / parts * kEvaluationRows,
                        std::min(kTestRows, blocks * (part + 1) / parts * kEvaluationRows));
  std::vector<data::Block> mine;
  for (std::size_t c = part; c < kClients.size(); c += parts)
    mine.push_back(test::random_block(schema, {kClients[c]}, 100 + c, c));
  roster.mine = data::Dataset(std::move(mine));
  return roster;
}

Scores scores_of(mpi::Communicator& comm, const data::Schema& schema, std::size_t threads) {
  const auto model = model::make({.kind = "mlp", .hidden = {9}, .activation = "tanh"}, schema);
  const Vector parameters = test::random_vector(model->layout().size());
  const Roster roster = roster_for(comm, schema);
  ThreadPool pool(threads);
  const auto cluster = mpi::make_cluster(comm, comm.size() % 2 == 0);
  Evaluator evaluator(*model, roster, pool, true);
  evaluator.measure(parameters);
  return evaluator.merged(comm, *cluster);
}

// Example by example, in one place.
model::Score score_reference(const model::Model& model, const Vector& parameters, const data::Block& block) {
  data::BatchBuffer one(block.schema, 1);
  const auto workspace = model.workspace(1);
  model::Score sum;
  for (std::size_t i = 0; i < block.rows; ++i) sum += model.evaluate(parameters, block.gather(i, 1, one), *workspace);
  return sum;
}

double metric_of(const data::Schema& schema, const model::Score& score, std::size_t n) {
  const double mean = score.metric / static_cast<double>(n);
  return schema.task == data::Task::classification ? mean : std::sqrt(mean / static_cast<double>(schema.targets));
}

double quantile(std::vector<double> values, double q) {
  std::sort(values.begin(), values.end());
  const double at = q * static_cast<double>(values.size() - 1);
  const auto below = static_cast<std::size_t>(at);
  return std::lerp(values[below], values[std::min(below + 1, values.size() - 1)], at - std::floor(at));
}

// NaN stands for what was not measured.
TEST(Evaluation, OfAModelWhoseOutputsOverflowIsInfinite) {
  mpi::Communicator comm(MPI_COMM_WORLD);
  const data::Schema schema = test::regression(6, 2);
  const auto model = model::make({.kind = "linear"}, schema);
  Vector parameters(model->layout().size());
  for (std::size_t j = 0; j < parameters.size(); ++j) parameters[j] = j % 2 == 0 ? 3e38F : -3e38F;
  const Roster roster = roster_for(comm, schema);
  ThreadPool pool(2);
  const auto cluster = mpi::make_cluster(comm, true);
  Evaluator evaluator(*model, roster, pool, true);
  evaluator.measure(parameters);
  const Scores scores = evaluator.merged(comm, *cluster);
  if (!comm.is_root()) return;
  for (const double value : {scores.test.loss, scores.test.metric, scores.clients.overall.loss, scores.clients.mean,
                             scores.clients.p90, scores.clients.worst})
    EXPECT_EQ(value, std::numeric_limits<double>::infinity());
}

void expect_reference(const data::Schema& schema) {
  mpi::Communicator comm(MPI_COMM_WORLD);
  const Scores found = scores_of(comm, schema, 1), threaded = scores_of(comm, schema, 3);
  if (!comm.is_root()) return;
  EXPECT_EQ(threaded.test.loss, found.test.loss);
  EXPECT_EQ(threaded.test.metric, found.test.metric);
  EXPECT_EQ(threaded.clients.overall.loss, found.clients.overall.loss);
  EXPECT_EQ(threaded.clients.mean, found.clients.mean);

  const auto model = model::make({.kind = "mlp", .hidden = {9}, .activation = "tanh"}, schema);
  const Vector parameters = test::random_vector(model->layout().size());
  const model::Score whole = score_reference(*model, parameters, test::random_block(schema, {kTestRows}, 5));
  EXPECT_NEAR(found.test.loss, whole.loss / static_cast<double>(kTestRows), 1e-6);
  EXPECT_NEAR(found.test.metric, metric_of(schema, whole, kTestRows), 1e-6);

  model::Score overall;
  std::vector<double> metrics;
  double weighted = 0.0;
  std::size_t examples = 0;
  for (std::size_t c = 0; c < kClients.size(); ++c) {
    const model::Score s = score_reference(*model, parameters, test::random_block(schema, {kClients[c]}, 100 + c));
    overall += s;
    metrics.push_back(metric_of(schema, s, kClients[c]));
    weighted += metrics.back() * static_cast<double>(kClients[c]);
    examples += kClients[c];
  }
  EXPECT_NEAR(found.clients.overall.loss, overall.loss / static_cast<double>(examples), 1e-6);
  EXPECT_NEAR(found.clients.overall.metric, metric_of(schema, overall, examples), 1e-6);
  EXPECT_NEAR(found.clients.mean, weighted / static_cast<double>(examples), 1e-6);
  EXPECT_NEAR(found.clients.p10, quantile(metrics, 0.1), 1e-6);
  EXPECT_NEAR(found.clients.p50, quantile(metrics, 0.5), 1e-6);
  EXPECT_NEAR(found.clients.p90, quantile(metrics, 0.9), 1e-6);
  const auto [least, most] = std::minmax_element(metrics.begin(), metrics.end());
  EXPECT_NEAR(found.clients.worst, schema.task == data::Task::classification ? *least : *most, 1e-6);
}

TEST(Evaluation, OfClassesIsThatOfEveryExampleAlone) { expect_reference(test::classification(6, 4)); }
TEST(Evaluation, OfNumbersIsThatOfEveryExampleAlone) { expect_reference(test::regression(6, 2)); }

// Rank 0 alone holds everything as well, and computes what the ranks compute together.
TEST(Evaluation, HasTheBitsOfASingleProcess) {
  mpi::Communicator comm(MPI_COMM_WORLD);
  for (const data::Schema& schema : {test::classification(6, 4), test::regression(6, 2)}) {
    const Scores together = scores_of(comm, schema, 1);
    if (!comm.is_root()) continue;
    mpi::Communicator self(MPI_COMM_SELF);
    const Scores alone = scores_of(self, schema, 2);
    EXPECT_EQ(together.test.loss, alone.test.loss);
    EXPECT_EQ(together.test.metric, alone.test.metric);
    EXPECT_EQ(together.clients.overall.loss, alone.clients.overall.loss);
    EXPECT_EQ(together.clients.overall.metric, alone.clients.overall.metric);
    EXPECT_EQ(together.clients.mean, alone.clients.mean);
    EXPECT_EQ(together.clients.p10, alone.clients.p10);
    EXPECT_EQ(together.clients.worst, alone.clients.worst);
  }
}

}  // namespace
}  // namespace fedmpi::federation
