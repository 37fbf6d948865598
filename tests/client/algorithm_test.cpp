#include "client/algorithm.hpp"

#include <gtest/gtest.h>

#include <cmath>
#include <numeric>

#include "base/magnitude.hpp"
#include "support/examples.hpp"
#include "support/expect_error.hpp"

namespace fedmpi::client {
namespace {

constexpr std::uint64_t kSeed = 11;

// A small network and three clients of 13, 1 and 30 examples.
struct Setting {
  explicit Setting(double l2 = 0.05)
      : model(model::make({.kind = "mlp", .hidden = {5}, .activation = "tanh", .l2 = l2}, schema)) {}

  data::Schema schema = test::classification(6, 3);
  std::unique_ptr<model::Model> model;
  data::Dataset dataset = data::Dataset({test::random_block(schema, {13, 1, 30}, 1, 40)});
  Vector global = test::random_vector(model->layout().size(), 0.5);

  // Methods that keep or send something find small random numbers there.
  Vector down = test::random_vector(model->layout().size(), 0.01, 3);
  Vector kept = test::random_vector(model->layout().size(), 0.01, 4);

  Assignment assignment(const Algorithm& algorithm, data::ClientId client, std::uint64_t round = 1) const {
    return {.examples = dataset.client(client),
            .global = global,
            .down = std::span(down).first(algorithm.down().size()),
            .kept = std::span(kept).first(algorithm.kept().size()),
            .round = round,
            .seed = kSeed};
  }
  test::Worker worker(const Algorithm& algorithm) const {
    return {*model, algorithm, schema, dataset.largest_client()};
  }

  Vector update(const Options& options, data::ClientId client, std::uint64_t round = 1) const {
    const auto algorithm = make(*model, options);
    test::Worker w = worker(*algorithm);
    w.train(*algorithm, assignment(*algorithm, client, round));
    return w.update;
  }

  // Mean gradient of loss and penalty over the examples listed, and the mean loss.
  std::pair<Vector, double> gradient(data::ClientId client, std::span<const std::uint32_t> rows,
                                     const Vector& at) const {
    const data::ClientExamples examples = dataset.client(client);
    data::BatchBuffer buffer(schema, rows.size());
    Vector g(at.size());
    const float n = static_cast<float>(rows.size());
    const model::Score score = model->add_gradient(at, examples.block->gather(examples.first, rows, buffer), 1.0F,
                                                   {g, {}}, *model->workspace(rows.size()));
    for (float& x : g) x /= n;
    model->add_penalty_gradient(at, g);
    return {g, score.loss / static_cast<double>(n)};
  }
};

// Local SGD in double, in the order of examples that the seed gives.
struct Reference {
  std::vector<double> update;
  double loss = 0.0;
};

Reference fedavg_reference(const Setting& s, const Options& o, data::ClientId client, std::uint64_t round) {
  const std::size_t n = s.dataset.client(client).size, batch = o.batch == 0 ? n : static_cast<std::size_t>(o.batch);
  const double lr = o.lr * std::pow(o.lr_decay, static_cast<double>(round) - 1.0);
  std::vector<double> w(s.global.begin(), s.global.end()), v(w.size());
  std::vector<std::uint32_t> order(n);
  std::iota(order.begin(), order.end(), 0U);
  Stream stream(kSeed, Purpose::order, round, client);
  double loss = 0.0, seen = 0.0;
  std::int64_t steps = 0;
  for (std::int64_t epoch = 0; o.steps > 0 ? steps < o.steps : epoch < o.epochs; ++epoch) {
    stream.shuffle(std::span<std::uint32_t>(order));
    for (std::size_t i = 0; i < n && (o.steps == 0 || steps < o.steps); i += batch, ++steps) {
      const std::span<const std::uint32_t> rows = std::span(order).subspan(i, std::min(batch, n - i));
      const auto [g, mean_loss] = s.gradient(client, rows, Vector(w.begin(), w.end()));
      for (std::size_t j = 0; j < w.size(); ++j) {
        v[j] = o.momentum * v[j] + double{g[j]} + o.weight_decay * w[j];
        w[j] -= lr * v[j];
      }
      loss += mean_loss * static_cast<double>(rows.size());
      seen += static_cast<double>(rows.size());
    }
  }
  for (std::size_t j = 0; j < w.size(); ++j) w[j] -= double{s.global[j]};
  return {w, loss / seen};
}

void expect_reference(const Setting& s, const Options& options) {
  for (const data::ClientId client : {40u, 41u, 42u}) {
    const Reference expected = fedavg_reference(s, options, client, 3);
    const auto algorithm = make(*s.model, options);
    test::Worker worker = s.worker(*algorithm);
    const Trained trained = worker.train(*algorithm, s.assignment(*algorithm, client, 3));
    EXPECT_NEAR(trained.score.loss / trained.score.count, expected.loss, 1e-5) << "client " << client;
    double size = 0.0;
    for (std::size_t j = 0; j < expected.update.size(); ++j) {
      EXPECT_NEAR(worker.update[j], expected.update[j], 2e-6) << "client " << client << " parameter " << j;
      size = std::max(size, std::abs(expected.update[j]));
    }
    EXPECT_GT(size, 1e-3) << "an update this small shows nothing";
  }
}

void expect_reference(const Options& options) {
  for (const double l2 : {0.0, 0.05}) expect_reference(Setting(l2), options);
}

TEST(FedSgd, StepsAlongTheMeanGradientOfAllExamples) {
  const Setting s;
  const Options options{.algorithm = "fedsgd", .lr = 0.2, .lr_decay = 0.5};
  for (const data::ClientId client : {40u, 41u, 42u}) {
    std::vector<std::uint32_t> all(s.dataset.client(client).size);
    std::iota(all.begin(), all.end(), 0U);
    const auto [gradient, loss] = s.gradient(client, all, s.global);
    const auto algorithm = make(*s.model, options);
    test::Worker worker = s.worker(*algorithm);
    const Trained trained = worker.train(*algorithm, s.assignment(*algorithm, client, 3));
    EXPECT_NEAR(trained.score.loss / trained.score.count, loss, 1e-6);
    EXPECT_EQ(trained.examples, all.size());
    for (std::size_t j = 0; j < gradient.size(); ++j)
      EXPECT_NEAR(worker.update[j], -0.2 * 0.25 * double{gradient[j]}, 1e-7);
  }
}

// More examples than the blocks that a full-batch gradient goes through.
TEST(EveryAlgorithm, AddsUpTheBlocksOfALargeClient) {
  for (const double l2 : {0.0, 0.05}) {
    Setting s(l2);
    s.dataset = data::Dataset({test::random_block(s.schema, {1000})});
    std::vector<std::uint32_t> all(1000);
    std::iota(all.begin(), all.end(), 0U);
    const auto [gradient, loss] = s.gradient(0, all, s.global);
    s.down.assign(s.down.size(), 0.0F);
    s.kept = s.down;
    for (const Kind& kind : algorithms()) {
      const Vector update = s.update({.algorithm = kind.name, .batch = 0, .lr = 1.0}, 0);
      for (std::size_t j = 0; j < gradient.size(); ++j) EXPECT_NEAR(update[j], -gradient[j], 1e-6) << kind.name;
    }
  }
}

TEST(FedAvg, WithOneStepOverAllExamplesIsFedSgd) {
  for (const double l2 : {0.0, 0.05}) {
    const Setting s(l2);
    for (const data::ClientId client : {40u, 41u, 42u}) {
      const Vector one = s.update({.algorithm = "fedsgd", .lr = 0.3}, client);
      const Vector other = s.update({.algorithm = "fedavg", .batch = 0, .lr = 0.3}, client);
      for (std::size_t j = 0; j < one.size(); ++j) EXPECT_NEAR(one[j], other[j], 3e-7);  // in another order
    }
  }
}

TEST(FedAvg, IsMinibatchSgd) { expect_reference({.epochs = 2, .batch = 4, .lr = 0.1}); }
TEST(FedAvg, TakesBatchesLargerThanTheClient) { expect_reference({.epochs = 3, .batch = 20, .lr = 0.1}); }
TEST(FedAvg, TakesBatchesLargerThanItsBlocks) {
  for (const double l2 : {0.0, 0.05}) {
    Setting s(l2);
    s.dataset = data::Dataset({test::random_block(s.schema, {700, 300, 129}, 1, 40)});
    expect_reference(s, {.epochs = 2, .batch = 400, .lr = 0.1});
  }
}
TEST(FedAvg, TakesWholeClients) { expect_reference({.epochs = 3, .batch = 0, .lr = 0.1}); }
TEST(FedAvg, TakesOneStep) { expect_reference({.steps = 1, .batch = 4, .lr = 0.1}); }
TEST(FedAvg, CountsStepsAcrossEpochs) { expect_reference({.epochs = 9, .steps = 5, .batch = 6, .lr = 0.1}); }
TEST(FedAvg, DecaysItsLearningRate) { expect_reference({.batch = 4, .lr = 0.3, .lr_decay = 0.7}); }
TEST(FedAvg, KeepsMomentum) { expect_reference({.epochs = 2, .batch = 4, .lr = 0.1, .momentum = 0.8}); }
TEST(FedAvg, DecaysItsWeights) { expect_reference({.epochs = 2, .batch = 4, .lr = 0.1, .weight_decay = 0.3}); }
TEST(FedAvg, DoesAllOfItAtOnce) {
  expect_reference({.epochs = 3, .batch = 7, .lr = 0.1, .lr_decay = 0.9, .momentum = 0.5, .weight_decay = 0.1});
}

// Its term pulls towards the global model: FedAvg's steps, each with μ (w − w₀) more.
TEST(FedProx, IsFedAvgWithAPullTowardsTheGlobalModel) {
  const Setting s;
  const Options far{.algorithm = "fedprox", .epochs = 3, .batch = 4, .proximal = 0.0};
  EXPECT_EQ(s.update(far, 42), s.update({.algorithm = "fedavg", .epochs = 3, .batch = 4}, 42));
  double before = norm(s.update(far, 42));
  for (const double mu : {0.5, 2.0, 8.0}) {
    Options near = far;
    near.proximal = mu;
    const double length = norm(s.update(near, 42));
    EXPECT_LT(length, before) << mu;
    before = length;
  }
}

// Option II by its formulas, in double, from FedAvg's reference with c − c_k added to every gradient.
TEST(Scaffold, CorrectsItsStepsAndRenewsItsControl) {
  const Setting s(0.0);
  const Options options{.algorithm = "scaffold", .epochs = 2, .batch = 4, .lr = 0.1};
  const auto algorithm = make(*s.model, options);
  test::Worker worker = s.worker(*algorithm);
  worker.train(*algorithm, s.assignment(*algorithm, 42, 3));

  const std::size_t n = s.dataset.client(42).size, d = s.global.size();
  std::vector<double> w(s.global.begin(), s.global.end());
  std::vector<std::uint32_t> order(n);
  std::iota(order.begin(), order.end(), 0U);
  Stream stream(kSeed, Purpose::order, 3, 42);
  double steps = 0;
  for (int epoch = 0; epoch < 2; ++epoch) {
    stream.shuffle(std::span<std::uint32_t>(order));
    for (std::size_t i = 0; i < n; i += 4, ++steps) {
      const Vector g =
          s.gradient(42, std::span(order).subspan(i, std::min<std::size_t>(4, n - i)), Vector(w.begin(), w.end()))
              .first;
      for (std::size_t j = 0; j < d; ++j) w[j] -= 0.1 * (double{g[j]} + double{s.down[j]} - double{s.kept[j]});
    }
  }
  for (std::size_t j = 0; j < d; ++j) {
    const double update = w[j] - double{s.global[j]};
    const double control = double{s.kept[j]} - double{s.down[j]} - update / (steps * 0.1);
    EXPECT_NEAR(worker.update[j], update, 2e-6);
    EXPECT_NEAR(worker.kept[j], control, 3e-6);
    EXPECT_NEAR(worker.rest[j], control - double{s.kept[j]}, 3e-6);
  }

  Vector down = s.down;
  algorithm->conclude({worker.update, worker.rest}, down, {.share = 0.25});
  for (std::size_t j = 0; j < d; ++j) EXPECT_NEAR(down[j], s.down[j] + 0.25F * worker.rest[j], 1e-7);
}

// With one step over all examples and no control yet, what a client keeps is its gradient.
TEST(Scaffold, KeepsTheGradientAfterAStep) {
  Setting s(0.0);
  s.down.assign(s.down.size(), 0.0F);
  s.kept = s.down;
  const Options options{.algorithm = "scaffold", .batch = 0, .lr = 0.1};
  const auto algorithm = make(*s.model, options);
  test::Worker worker = s.worker(*algorithm);
  worker.train(*algorithm, s.assignment(*algorithm, 42));
  std::vector<std::uint32_t> all(s.dataset.client(42).size);
  std::iota(all.begin(), all.end(), 0U);
  const Vector gradient = s.gradient(42, all, s.global).first;
  for (std::size_t j = 0; j < gradient.size(); ++j) EXPECT_NEAR(worker.kept[j], gradient[j], 1e-6);
}

TEST(FedAvg, ShufflesByRoundAndClient) {
  const Setting s;
  const Options options{.batch = 4};
  EXPECT_NE(s.update(options, 42, 1), s.update(options, 42, 2));
}

std::vector<Options> variants(const Kind& kind) {
  const Options plain{.algorithm = kind.name, .epochs = 2, .batch = 4};
  Options all = plain, momentum = plain, one_of_all = plain, one_of_some = plain;
  all.batch = one_of_all.batch = 0;
  momentum.momentum = 0.9;
  one_of_all.epochs = one_of_some.steps = 1;
  return {plain, all, momentum, one_of_all, one_of_some};
}

void expect_function_of_assignment(const Setting& s, const Kind& kind) {
  for (const Options& options : variants(kind)) {
    SCOPED_TRACE(fmt::format("{} epochs {} steps {} batch {} momentum {}", kind.name, options.epochs, options.steps,
                             options.batch, options.momentum));
    const auto algorithm = make(*s.model, options);
    const auto at = [&](data::ClientId client, std::uint64_t round = 1) {
      return s.assignment(*algorithm, client, round);
    };
    test::Worker fresh = s.worker(*algorithm), used = s.worker(*algorithm);
    const double loss = fresh.train(*algorithm, at(42)).score.loss;
    used.train(*algorithm, at(41, 7));
    used.train(*algorithm, at(40));
    EXPECT_EQ(used.train(*algorithm, at(42)).score.loss, loss);
    EXPECT_EQ(used, fresh);

    test::Worker roomy(*s.model, *algorithm, s.schema, 5000);
    EXPECT_EQ(roomy.train(*algorithm, at(42)).score.loss, loss);
    EXPECT_EQ(roomy, fresh);
  }
}

// Same assignment, same bits: whoever was trained before on the same worker, and with any room to spare.
TEST(EveryAlgorithm, IsAFunctionOfItsAssignment) {
  for (const double l2 : {0.0, 0.05})
    for (const Kind& kind : algorithms()) expect_function_of_assignment(Setting(l2), kind);
}

TEST(EveryAlgorithm, LowersTheLoss) {
  const Setting s;
  for (const Kind& kind : algorithms()) {
    SCOPED_TRACE(kind.name);
    std::vector<std::uint32_t> all(s.dataset.client(42).size);
    std::iota(all.begin(), all.end(), 0U);
    Vector after = s.update({.algorithm = kind.name, .lr = 0.05}, 42);
    for (std::size_t j = 0; j < after.size(); ++j) after[j] += s.global[j];
    EXPECT_LT(s.gradient(42, all, after).second, s.gradient(42, all, s.global).second);
  }
}

TEST(Algorithm, RefusesBadOptions) {
  const Setting s;
  const auto refused = [&](const Options& options, std::vector<std::string> parts) {
    test::expect_error(ExitCode::usage, parts, [&] { make(*s.model, options); });
  };
  refused({.algorithm = "fedsbd"}, {"client.algorithm", "fedsbd", "fedsgd", "fedavg"});
  refused({.epochs = 0}, {"client.epochs", "0"});
  refused({.steps = -1}, {"client.steps", "-1"});
  refused({.batch = -5}, {"client.batch", "-5"});
  refused({.lr = 0.0}, {"client.lr", "0"});
  refused({.lr = -0.5}, {"client.lr", "-0.5"});
  refused({.lr = HUGE_VAL}, {"client.lr", "inf"});
  refused({.lr_decay = 1.1}, {"client.lr-decay", "1.1"});
  refused({.lr_decay = 0.0}, {"client.lr-decay", "0"});
  refused({.momentum = 1.0}, {"client.momentum", "1"});
  refused({.momentum = std::nan("")}, {"client.momentum", "nan"});
  refused({.weight_decay = -1e-4}, {"client.weight-decay", "-0.0001"});
  refused({.weight_decay = HUGE_VAL}, {"client.weight-decay", "inf"});
  refused({.algorithm = "fedprox", .proximal = -0.1}, {"client.proximal", "-0.1"});
}

}  // namespace
}  // namespace fedmpi::client
