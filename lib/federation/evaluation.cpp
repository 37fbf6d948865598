#include "federation/evaluation.hpp"

#include <algorithm>
#include <cmath>
#include <limits>
#include <mutex>

#include "base/exact_sum.hpp"
#include "data/prefetcher.hpp"

namespace fedmpi::federation {

namespace {

// Of sorted values, as numpy.quantile does; some may be infinite.
double quantile(const std::vector<double>& sorted, double q) {
  const double at = q * static_cast<double>(sorted.size() - 1);
  const std::size_t below = static_cast<std::size_t>(at);
  const double share = at - static_cast<double>(below), low = sorted[below];
  const double high = sorted[std::min(below + 1, sorted.size() - 1)];
  return share == 0 || low == high ? low : low + share * (high - low);
}

// What is measured of a model whose outputs overflow is infinite, since NaN stands for what was not measured.
double measured(double value) { return std::isnan(value) ? std::numeric_limits<double>::infinity() : value; }

}  // namespace

std::size_t evaluation_rows(const Roster& roster) {
  return std::min(kEvaluationRows, std::max(roster.test.rows, roster.mine.largest_client()));
}

Evaluator::Evaluator(const model::Model& model, const Roster& roster, ThreadPool& pool, bool evaluate_clients)
    : model_(model), roster_(roster), pool_(pool), evaluate_clients_(evaluate_clients) {
  const std::size_t rows = evaluation_rows(roster);
  for (std::size_t t = 0; t < pool.size(); ++t)
    workers_.push_back({data::BatchBuffer(roster.schema, rows), model.workspace(rows)});
}

double Evaluator::metric(double sum, double count) const {
  if (roster_.schema.task == data::Task::classification) return sum / count;
  return measured(std::sqrt(sum / (count * static_cast<double>(roster_.schema.targets))));
}

model::Score Evaluator::score(const data::Block& block, std::size_t first, std::size_t count,
                              const model::Weights& weights, Worker& worker) const {
  model::Score sum;
  for (std::size_t i = 0; i < count; i += kEvaluationRows)
    sum += model_.evaluate(weights, block.gather(first + i, std::min(kEvaluationRows, count - i), worker.batch),
                           *worker.workspace);
  return sum;
}

void Evaluator::Sums::add(const model::Score& score) {
  loss.add(score.loss);
  metric.add(score.metric);
  count.add(score.count);
}

void Evaluator::merge(AllSums& into, const AllSums& from) {
  for (const auto part : {&AllSums::test, &AllSums::clients}) {
    (into.*part).loss.add((from.*part).loss);
    (into.*part).metric.add((from.*part).metric);
    (into.*part).count.add((from.*part).count);
  }
  into.weighted.add(from.weighted);
}

void Evaluator::measure(const model::Weights& weights) {
  sums_ = {};
  measure_test(weights);
  if (evaluate_clients_) measure_clients(weights);
}

void Evaluator::measure_test(const model::Weights& weights) {
  std::mutex mutex;
  const auto& offsets = roster_.test.offsets;
  pool_.run(offsets.empty() ? 0 : offsets.size() - 1, [&](std::size_t worker, std::size_t i) {
    const model::Score s = score(roster_.test, offsets[i], offsets[i + 1] - offsets[i], weights, workers_[worker]);
    const std::lock_guard lock(mutex);
    sums_.test.add(s);
  });
}

void Evaluator::measure_clients(const model::Weights& weights) {
  std::vector<data::ClientExamples> mine;
  for (const data::Block& b : roster_.mine.blocks())
    for (std::size_t c = 0; c + 1 < b.offsets.size(); ++c)
      if (b.offsets[c] < b.offsets[c + 1]) mine.push_back(roster_.mine.client(b.first_client + c));
  values_.resize(mine.size());
  std::vector<model::Score> scores(mine.size());
  roster_.mine.prefetcher().start(mine);
  pool_.run(mine.size(), [&](std::size_t worker, std::size_t i) {
    const data::ClientExamples c = roster_.mine.prefetcher().take(worker, i);
    scores[i] = score(*c.block, c.first, c.size, weights, workers_[worker]);
    values_[i] = metric(scores[i].metric, scores[i].count);
  });
  for (std::size_t i = 0; i < mine.size(); ++i) {
    sums_.clients.add(scores[i]);
    sums_.weighted.add(values_[i] * static_cast<double>(mine[i].size));
  }
}

TestScore Evaluator::mean(const Sums& sums) const {
  const double n = sums.count.value();
  return {measured(sums.loss.value() / n), metric(sums.metric.value(), n)};
}

Scores Evaluator::merged(mpi::Communicator& comm, mpi::Cluster& cluster) {
  cluster.all_merge<AllSums, merge>(sums_);
  Scores scores;
  if (roster_.test_rows > 0) scores.test = mean(sums_.test);
  if (!evaluate_clients_) return scores;
  std::vector<double> all = comm.gather(std::span<const double>(values_));
  if (all.empty()) return scores;
  std::sort(all.begin(), all.end());
  const bool higher_is_better = roster_.schema.task == data::Task::classification;
  scores.clients =
      ClientScore{mean(sums_.clients), measured(sums_.weighted.value() / static_cast<double>(roster_.examples)),
                  quantile(all, 0.1),  quantile(all, 0.5),
                  quantile(all, 0.9),  higher_is_better ? all.front() : all.back()};
  return scores;
}

void Scores::file_in(checkpoint::Row& row) const {
  if (test) {
    row.test_loss = test->loss;
    row.test_metric = test->metric;
  }
  if (clients) {
    row.client_mean = clients->mean;
    row.client_p10 = clients->p10;
    row.client_p50 = clients->p50;
    row.client_p90 = clients->p90;
    row.client_worst = clients->worst;
  }
}

}  // namespace fedmpi::federation
