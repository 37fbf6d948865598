#include "data/import/dense_labels.hpp"

#include <algorithm>
#include <set>

#include "base/error.hpp"
#include "data/import/labels.hpp"

namespace fedmpi::data {

namespace {

using Labels = std::vector<std::int32_t>;  // sorted

Labels labels_of(Source& source) {
  std::set<std::int32_t> labels;
  Example example;
  for (source.rewind(); source.next(example);)
    if (labels.insert(example.label).second && labels.size() > kMostClasses)
      fail(ExitCode::bad_data, "expected at most {} different labels, found more", kMostClasses);
  return {labels.begin(), labels.end()};
}

class DenseSource final : public Source {
 public:
  DenseSource(std::unique_ptr<Source> source, Labels labels)
      : source_(std::move(source)), labels_(std::move(labels)), schema_(source_->schema()) {
    const std::vector<std::string> names = std::move(schema_.label_names);
    schema_.classes = labels_.size();
    schema_.label_names.clear();
    for (const std::int32_t label : labels_)
      schema_.label_names.push_back(names.empty() ? std::to_string(label) : names[static_cast<std::size_t>(label)]);
  }

  const Schema& schema() const override { return schema_; }
  const std::vector<std::string>& client_names() const override { return source_->client_names(); }

  void rewind() override {
    source_->rewind();
    row_ = 0;
  }

  bool next(Example& example) override {
    if (!source_->next(example)) return false;
    const auto found = std::lower_bound(labels_.begin(), labels_.end(), example.label);
    if (found == labels_.end() || *found != example.label)
      fail(ExitCode::bad_data, "example {}: expected a label that the training data has, found {}", row_,
           example.label);
    example.label = static_cast<std::int32_t>(found - labels_.begin());
    ++row_;
    return true;
  }

 private:
  std::unique_ptr<Source> source_;
  Labels labels_;
  Schema schema_;
  std::size_t row_ = 0;
};

}  // namespace

Input with_dense_labels(Input input) {
  if (input.train->schema().task != Task::classification)
    fail(ExitCode::usage, "--labels: dense needs labels that are classes, found a regression task");
  const Labels labels = labels_of(*input.train);
  for (std::unique_ptr<Source>* source : {&input.train, &input.test})
    if (*source != nullptr) *source = std::make_unique<DenseSource>(std::move(*source), labels);
  return input;
}

}  // namespace fedmpi::data
