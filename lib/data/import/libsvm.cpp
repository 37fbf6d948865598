#include "data/import/libsvm.hpp"

#include <algorithm>

#include "base/error.hpp"
#include "data/import/text.hpp"

namespace fedmpi::data {

namespace {

constexpr std::uint64_t kMostFeatures = std::uint64_t{1} << 24;  // a dense row of 64 MiB

struct Entry {
  std::size_t column;  // from zero
  float value;
};

// A file's examples as it has them: the label's text and the entries that are there.
class LibsvmReader {
 public:
  explicit LibsvmReader(const std::string& path) : lines_(path) {}

  std::string_view label() const { return label_; }
  const std::vector<Entry>& entries() const { return entries_; }
  const LineReader& lines() const { return lines_; }
  void rewind() { lines_.rewind(); }

  bool next() {
    std::string_view line;
    do {
      if (!lines_.next(line)) return false;
      line = trim(line.substr(0, line.find('#')));
    } while (line.empty());
    entries_.clear();
    label_ = take_word(line);
    while (!line.empty()) entries_.push_back(entry(take_word(line)));
    return true;
  }

 private:
  static std::string_view take_word(std::string_view& line) {
    const std::size_t end = std::min(line.find_first_of(" \t"), line.size());
    const std::string_view word = line.substr(0, end);
    line.remove_prefix(std::min(line.find_first_not_of(" \t", end), line.size()));
    return word;
  }

  Entry entry(std::string_view word) const {
    const std::size_t colon = std::min(word.find(':'), word.size());
    const std::optional<std::uint64_t> index = parse_count(word.substr(0, colon));
    if (colon == word.size() || !index) lines_.refuse("INDEX:VALUE", in_quotes(word));
    if (*index == 0 || *index > kMostFeatures)
      lines_.refuse(fmt::format("an index from 1 to {}", kMostFeatures), in_quotes(word));
    if (!entries_.empty() && *index <= entries_.back().column + 1)
      lines_.refuse(fmt::format("an index above {}", entries_.back().column + 1), in_quotes(word));
    const std::optional<float> value = parse_float(word.substr(colon + 1));
    if (!value) lines_.refuse("a finite value", in_quotes(word));
    return {static_cast<std::size_t>(*index - 1), *value};
  }

  LineReader lines_;
  std::string_view label_;
  std::vector<Entry> entries_;
};

// What the training file settles, and a test file has to follow.
struct LibsvmFacts {
  LabelMap labels;
  std::size_t features;
};

std::shared_ptr<const LibsvmFacts> learn_facts(const std::string& path, const LibsvmOptions& options) {
  auto facts = std::make_shared<LibsvmFacts>(LibsvmFacts{LabelMap(options.task), options.features});
  LibsvmReader reader(path);
  while (reader.next()) {
    const std::string expected = facts->labels.add(reader.label());
    if (!expected.empty()) reader.lines().refuse(expected, in_quotes(reader.label()));
    if (options.features == 0 && !reader.entries().empty())
      facts->features = std::max(facts->features, reader.entries().back().column + 1);
  }
  if (facts->features == 0) fail(ExitCode::bad_data, "{}: expected examples with features, found none", path);
  facts->labels.settle();
  return facts;
}

class LibsvmSource final : public Source {
 public:
  LibsvmSource(const std::string& path, std::shared_ptr<const LibsvmFacts> facts)
      : reader_(path), facts_(std::move(facts)), features_(facts_->features) {
    schema_.task = facts_->labels.task();
    schema_.classes = facts_->labels.classes();
    schema_.feature_shape.assign(1, facts_->features);
  }

  const Schema& schema() const override { return schema_; }
  const std::vector<std::string>& client_names() const override { return no_clients_; }
  void rewind() override { reader_.rewind(); }

  bool next(Example& example) override {
    if (!reader_.next()) return false;
    std::fill(features_.begin(), features_.end(), 0.0F);
    for (const Entry& e : reader_.entries()) {
      if (e.column >= features_.size())
        reader_.lines().refuse(fmt::format("at most {} features (--features allows more)", features_.size()),
                               fmt::format("index {}", e.column + 1));
      features_[e.column] = e.value;
    }
    example.features = std::as_bytes(std::span(features_));
    read_label(example);
    return true;
  }

 private:
  void read_label(Example& example) {
    if (schema_.task == Task::classification) {
      const std::optional<std::int32_t> label = facts_->labels.find(reader_.label());
      if (!label) reader_.lines().refuse("a label that the training data has", in_quotes(reader_.label()));
      example.label = *label;
    } else {
      const std::optional<float> value = parse_float(reader_.label());
      if (!value) reader_.lines().refuse("a finite number as label", in_quotes(reader_.label()));
      target_ = *value;
      example.target = {&target_, 1};
    }
  }

  LibsvmReader reader_;
  std::shared_ptr<const LibsvmFacts> facts_;
  Schema schema_;
  std::vector<std::string> no_clients_;
  std::vector<float> features_;
  float target_ = 0.0F;
};

}  // namespace

LibsvmInput open_libsvm(const std::string& train, const std::string& test, const LibsvmOptions& options) {
  if (options.features > kMostFeatures)
    fail(ExitCode::usage, "--features: expected at most {}, found {}", kMostFeatures, options.features);
  const std::shared_ptr<const LibsvmFacts> facts = learn_facts(train, options);
  LibsvmInput input{std::make_unique<LibsvmSource>(train, facts), nullptr, facts->labels.names()};
  if (!test.empty()) input.test = std::make_unique<LibsvmSource>(test, facts);
  return input;
}

}  // namespace fedmpi::data
