#include "data/import/dense_labels.hpp"

#include "fixtures.hpp"

namespace fedmpi::data {
namespace {

using test::expect_error;
using test::read_all;

// Examples that are nothing but labels.
class Labels final : public Source {
 public:
  explicit Labels(std::vector<std::int32_t> labels) : labels_(std::move(labels)) { schema_.feature_shape = {1}; }
  Schema& schema() { return schema_; }
  const Schema& schema() const override { return schema_; }
  const std::vector<std::string>& client_names() const override { return names_; }
  void rewind() override { at_ = 0; }
  bool next(Example& example) override {
    if (at_ == labels_.size()) return false;
    example.features = std::as_bytes(std::span(&feature_, 1));
    example.label = labels_[at_++];
    return true;
  }

 private:
  std::vector<std::int32_t> labels_;
  Schema schema_;
  std::vector<std::string> names_;
  float feature_ = 0.0F;
  std::size_t at_ = 0;
};

std::vector<std::int32_t> labels_of(Source& source) {
  std::vector<std::int32_t> labels;
  for (const test::Row& row : read_all(source)) labels.push_back(row.label);
  return labels;
}

TEST(DenseLabels, AreNamedByTheNumbersTheyHad) {
  const Input input = with_dense_labels({std::make_unique<Labels>(std::vector{3, 1, 2'000'000'000, 3}),
                                         std::make_unique<Labels>(std::vector{2'000'000'000, 1})});
  EXPECT_EQ(labels_of(*input.train), (std::vector{1, 0, 2, 1}));
  EXPECT_EQ(labels_of(*input.test), (std::vector{2, 0}));
  for (const auto* source : {&input.train, &input.test}) {
    EXPECT_EQ((*source)->schema().classes, 3U);
    EXPECT_EQ((*source)->schema().label_names, (std::vector<std::string>{"1", "3", "2000000000"}));
  }
}

TEST(DenseLabels, KeepTheNamesThatThereAre) {
  auto source = std::make_unique<Labels>(std::vector{2, 0});
  source->schema().label_names = {"cat", "dog", "eel"};
  const Input input = with_dense_labels({std::move(source)});
  EXPECT_EQ(input.train->schema().label_names, (std::vector<std::string>{"cat", "eel"}));
}

TEST(DenseLabels, RefuseWhatCannotBeRenumbered) {
  const Input input =
      with_dense_labels({std::make_unique<Labels>(std::vector{1, 2}), std::make_unique<Labels>(std::vector{1, 5})});
  expect_error(ExitCode::bad_data, {"example 1", "that the training data has", "found 5"},
               [&] { read_all(*input.test); });
  auto regression = std::make_unique<Labels>(std::vector{1});
  regression->schema().task = Task::regression;
  expect_error(ExitCode::usage, {"--labels", "regression"}, [&] { with_dense_labels({std::move(regression)}); });
}

}  // namespace
}  // namespace fedmpi::data
