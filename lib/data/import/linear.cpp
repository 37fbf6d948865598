#include "data/import/linear.hpp"

#include <fmt/format.h>

#include "base/random.hpp"

namespace fedmpi::data {

namespace {

enum Draw : std::uint64_t { kSolution = 0, kExamples = 1 };

class LinearSource final : public Source {
 public:
  explicit LinearSource(const LinearOptions& options)
      : options_(options),
        solution_((options.features + 1) * options.targets),
        features_(options.features),
        target_(options.targets) {
    schema_.task = Task::regression;
    schema_.targets = options.targets;
    schema_.feature_shape = {options.features};
    Stream draw(options.seed, Purpose::generate, kSolution);
    for (float& w : solution_) w = static_cast<float>(draw.normal());
  }

  const Schema& schema() const override { return schema_; }
  const std::vector<std::string>& client_names() const override { return no_clients_; }
  void rewind() override { example_ = 0; }

  bool next(Example& example) override {
    if (example_ == options_.examples) return false;
    Stream draw(options_.seed, Purpose::generate, kExamples, example_++);
    for (float& x : features_) x = static_cast<float>(draw.normal());
    for (std::size_t k = 0; k < options_.targets; ++k) {
      double y = weight(options_.features, k) + options_.noise * draw.normal();
      for (std::size_t j = 0; j < options_.features; ++j) y += static_cast<double>(weight(j, k)) * features_[j];
      target_[k] = static_cast<float>(y);
    }
    example.features = std::as_bytes(std::span(features_));
    example.target = target_;
    return true;
  }

  std::string solution() const {
    std::string text = "feature";
    for (std::size_t k = 0; k < options_.targets; ++k) text += fmt::format(",target_{}", k);
    for (std::size_t j = 0; j <= options_.features; ++j) {
      text += j < options_.features ? fmt::format("\n{}", j) : "\nbias";
      for (std::size_t k = 0; k < options_.targets; ++k) text += fmt::format(",{}", weight(j, k));
    }
    return text + "\n";
  }

 private:
  float weight(std::size_t row, std::size_t target) const { return solution_[row * options_.targets + target]; }

  LinearOptions options_;
  Schema schema_;
  std::vector<std::string> no_clients_;
  std::vector<float> solution_;  // (features + 1) × targets, the bias last
  std::vector<float> features_, target_;
  std::size_t example_ = 0;
};

}  // namespace

Input make_linear(const LinearOptions& options) {
  auto source = std::make_unique<LinearSource>(options);
  std::string solution = source->solution();
  return {std::move(source), nullptr, std::move(solution)};
}

}  // namespace fedmpi::data
