#include "federation/evaluation.hpp"

#include <algorithm>
#include <cmath>
#include <mutex>

#include "base/exact_sum.hpp"

namespace fedmpi::federation {

namespace {

struct Sums {
  ExactSum loss, metric, weighted;  // weighted: a client's metric times its examples
};

void merge(Sums& into, const Sums& from) {
  into.loss.add(from.loss);
  into.metric.add(from.metric);
  into.weighted.add(from.weighted);
}

// Of sorted values, as numpy.quantile does.
double quantile(const std::vector<double>& sorted, double q) {
  const double at = q * static_cast<double>(sorted.size() - 1);
  const std::size_t below = static_cast<std::size_t>(at);
  const std::size_t above = std::min(below + 1, sorted.size() - 1);
  return sorted[below] + (at - static_cast<double>(below)) * (sorted[above] - sorted[below]);
}

}  // namespace

Evaluator::Evaluator(const model::Model& model, const Roster& roster, ThreadPool& pool)
    : model_(model), roster_(roster), pool_(pool) {
  const std::size_t largest = std::max(roster.test.rows, roster.mine.largest_client());
  const std::size_t rows = std::min(kEvaluationRows, largest);
  for (std::size_t t = 0; t < pool.size(); ++t)
    workers_.push_back({data::BatchBuffer(roster.schema, rows), model.workspace(rows)});
}

double Evaluator::metric(double sum, double examples) const {
  if (roster_.schema.task == data::Task::classification) return sum / examples;
  return std::sqrt(sum / (examples * static_cast<double>(roster_.schema.targets)));
}

model::Score Evaluator::score(const data::Block& block, std::size_t first, std::size_t count,
                              std::span<const float> parameters, Worker& worker) const {
  model::Score sum;
  for (std::size_t i = 0; i < count; i += kEvaluationRows)
    sum += model_.evaluate(parameters, block.gather(first + i, std::min(kEvaluationRows, count - i), worker.batch),
                           *worker.workspace);
  return sum;
}

TestScore Evaluator::test(mpi::Communicator& comm, std::span<const float> parameters) {
  Sums sums;
  std::mutex mutex;
  const std::vector<std::uint64_t>& offsets = roster_.test.offsets;
  pool_.run(offsets.empty() ? 0 : offsets.size() - 1, [&](std::size_t worker, std::size_t i) {
    const model::Score s = score(roster_.test, offsets[i], offsets[i + 1] - offsets[i], parameters, workers_[worker]);
    const std::lock_guard lock(mutex);
    sums.loss.add(s.loss);
    sums.metric.add(s.metric);
  });
  comm.all_merge<Sums, merge>(sums);
  const double n = static_cast<double>(roster_.test_rows);
  return {sums.loss.value() / n, metric(sums.metric.value(), n)};
}

ClientScore Evaluator::clients(mpi::Communicator& comm, std::span<const float> parameters) {
  std::vector<data::ClientExamples> mine;
  for (const data::Block& b : roster_.mine.blocks())
    for (std::size_t c = 0; c + 1 < b.offsets.size(); ++c)
      if (b.offsets[c] < b.offsets[c + 1]) mine.push_back(roster_.mine.client(b.first_client + c));
  std::vector<double> values(mine.size());
  std::vector<model::Score> scores(mine.size());
  pool_.run(mine.size(), [&](std::size_t worker, std::size_t i) {
    const data::ClientExamples& c = mine[i];
    scores[i] = score(*c.block, c.first, c.size, parameters, workers_[worker]);
    values[i] = metric(scores[i].metric, static_cast<double>(c.size));
  });
  Sums sums;
  for (std::size_t i = 0; i < mine.size(); ++i) {
    sums.loss.add(scores[i].loss);
    sums.metric.add(scores[i].metric);
    sums.weighted.add(values[i] * static_cast<double>(mine[i].size));
  }
  comm.all_merge<Sums, merge>(sums);
  std::vector<double> all = comm.gather(std::span<const double>(values));
  if (all.empty()) return {};
  std::sort(all.begin(), all.end());
  const bool higher_is_better = roster_.schema.task == data::Task::classification;
  const double n = static_cast<double>(roster_.examples);
  return {{sums.loss.value() / n, metric(sums.metric.value(), n)},
          sums.weighted.value() / n,
          quantile(all, 0.1),
          quantile(all, 0.5),
          quantile(all, 0.9),
          higher_is_better ? all.front() : all.back()};
}

}  // namespace fedmpi::federation
