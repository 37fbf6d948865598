#include "data/import/synthetic.hpp"

#include <algorithm>
#include <array>
#include <cmath>

#include "base/random.hpp"

namespace fedmpi::data {

namespace {

constexpr std::size_t kFeatures = 60, kClasses = 10;
enum Draw : std::uint64_t { kModel = 0, kExamples = 1 };  // the streams of a client

// What distinguishes one client k: its size, its labelling model and where its features lie.
struct ClientModel {
  std::size_t examples;
  std::array<double, kFeatures * kClasses> weights;  // W_k, a row per class
  std::array<double, kClasses> bias;
  std::array<double, kFeatures> centre;  // v_k

  ClientModel(const SyntheticOptions& options, std::size_t client) {
    Stream draw(options.seed, Purpose::generate, kModel, client);
    examples = 50 + static_cast<std::size_t>(std::exp(4.0 + 2.0 * draw.normal()));
    const double u = options.alpha * draw.normal(), b = options.beta * draw.normal();
    for (double& w : weights) w = u + draw.normal();
    for (double& c : bias) c = u + draw.normal();
    for (double& v : centre) v = b + draw.normal();
  }

  std::int32_t label(std::span<const float> x) const {
    std::array<double, kClasses> score = bias;
    for (std::size_t k = 0; k < kClasses; ++k)
      for (std::size_t j = 0; j < kFeatures; ++j) score[k] += weights[k * kFeatures + j] * x[j];
    return static_cast<std::int32_t>(std::max_element(score.begin(), score.end()) - score.begin());
  }
};

class SyntheticSource final : public Source {
 public:
  explicit SyntheticSource(const SyntheticOptions& options)
      : options_(options), model_(options, 0), draw_(options.seed, Purpose::generate, kExamples, 0) {
    schema_.classes = kClasses;
    schema_.feature_shape = {kFeatures};
    for (std::size_t k = 0; k < options.clients; ++k) names_.push_back(std::to_string(k));
    for (std::size_t j = 0; j < kFeatures; ++j) deviation_[j] = std::sqrt(std::pow(static_cast<double>(j + 1), -1.2));
  }

  const Schema& schema() const override { return schema_; }
  const std::vector<std::string>& client_names() const override { return names_; }
  void rewind() override { start_client(0); }

  bool next(Example& example) override {
    if (example_ == model_.examples) {
      if (client_ + 1 == options_.clients) return false;
      start_client(client_ + 1);
    }
    for (std::size_t j = 0; j < kFeatures; ++j)
      features_[j] = static_cast<float>(model_.centre[j] + deviation_[j] * draw_.normal());
    example.features = std::as_bytes(std::span(features_));
    example.label = model_.label(features_);
    example.client = client_;
    ++example_;
    return true;
  }

 private:
  void start_client(std::size_t client) {
    client_ = client;
    example_ = 0;
    model_ = ClientModel(options_, client);
    draw_ = Stream(options_.seed, Purpose::generate, kExamples, client);
  }

  SyntheticOptions options_;
  Schema schema_;
  std::vector<std::string> names_;
  std::array<double, kFeatures> deviation_{};  // the root of Σ's diagonal, j^-1.2
  ClientModel model_;
  Stream draw_;
  std::array<float, kFeatures> features_{};
  std::size_t client_ = 0, example_ = 0;
};

}  // namespace

std::unique_ptr<Source> make_synthetic(const SyntheticOptions& options) {
  return std::make_unique<SyntheticSource>(options);
}

}  // namespace fedmpi::data
