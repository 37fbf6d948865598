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

// A file's examples as it has them: the texts of label and query, and the entries that are there.
class LibsvmReader {
 public:
  LibsvmReader(const std::string& path, bool zero_based) : lines_(path), base_(zero_based ? 0 : 1) {}

  std::string_view label() const { return label_; }
  std::string_view query() const { return query_; }  // empty where there is none
  const std::vector<Entry>& entries() const { return entries_; }
  const LineReader& lines() const { return lines_; }
  std::size_t index(std::size_t column) const { return column + base_; }  // as the file has it
  void rewind() { lines_.rewind(); }

  bool next() {
    std::string_view line;
    do {
      if (!lines_.next(line)) return false;
      line = trim(line.substr(0, line.find('#')));
    } while (line.empty());
    entries_.clear();
    label_ = take_word(line);
    if (label_.find_first_of(":,") != std::string_view::npos)
      lines_.refuse("one label before the first INDEX:VALUE", in_quotes(label_));
    query_ = line.starts_with(kQuery) ? query(take_word(line)) : std::string_view();
    while (!line.empty()) entries_.push_back(entry(take_word(line)));
    return true;
  }

 private:
  static constexpr std::string_view kQuery = "qid:";

  static std::string_view take_word(std::string_view& line) {
    const std::size_t end = std::min(line.find_first_of(" \t"), line.size());
    const std::string_view word = line.substr(0, end);
    line.remove_prefix(std::min(line.find_first_not_of(" \t", end), line.size()));
    return word;
  }

  std::string_view query(std::string_view word) const {
    const std::string_view number = word.substr(kQuery.size());
    if (!parse_count(number)) lines_.refuse("qid:N with a whole number N", in_quotes(word));
    return number;
  }

  Entry entry(std::string_view word) const {
    const std::size_t colon = std::min(word.find(':'), word.size());
    const std::optional<std::uint64_t> index = parse_count(word.substr(0, colon));
    if (colon == word.size() || !index || *index < base_ || *index - base_ >= kMostFeatures)
      lines_.refuse(fmt::format("INDEX:VALUE with an index from {} to {}{}", base_, kMostFeatures - 1 + base_,
                                index == 0 ? " (--zero-based takes indices from 0)" : ""),
                    in_quotes(word));
    const auto column = static_cast<std::size_t>(*index - base_);
    if (!entries_.empty() && column <= entries_.back().column)
      lines_.refuse(fmt::format("an index above {}", this->index(entries_.back().column)), in_quotes(word));
    const std::optional<float> value = parse_float(word.substr(colon + 1));
    if (!value) lines_.refuse(fmt::format("{} as value", kFloat), in_quotes(word));
    return {column, *value};
  }

  LineReader lines_;
  std::size_t base_;  // the first index
  std::string_view label_, query_;
  std::vector<Entry> entries_;
};

// What the training file settles, and a test file has to follow.
struct LibsvmFacts {
  LabelMap labels;
  ClientMap queries;
  std::size_t features;
};

std::shared_ptr<const LibsvmFacts> learn_facts(const std::string& path, const LibsvmOptions& options) {
  auto facts = std::make_shared<LibsvmFacts>(LibsvmFacts{LabelMap(options.task), {}, options.features});
  LibsvmReader reader(path, options.zero_based);
  for (bool first = true, queries = false; reader.next(); first = false) {
    facts->labels.add(reader.label(), reader.lines());
    if (first) queries = !reader.query().empty();
    if (queries == reader.query().empty())
      reader.lines().refuse(
          queries ? "qid:N after the label, as in the lines before" : "no qid, as in the lines before",
          queries ? "none" : in_quotes(fmt::format("qid:{}", reader.query())));
    if (queries) facts->queries.add(reader.query(), reader.lines());
    if (options.features == 0 && !reader.entries().empty())
      facts->features = std::max(facts->features, reader.entries().back().column + 1);
  }
  if (facts->features == 0) fail(ExitCode::bad_data, "{}: expected examples with features, found none", path);
  facts->labels.settle();
  return facts;
}

class LibsvmSource final : public Source {
 public:
  LibsvmSource(const std::string& path, bool zero_based, std::shared_ptr<const LibsvmFacts> facts, bool with_clients)
      : reader_(path, zero_based), facts_(std::move(facts)), features_(facts_->features) {
    if (with_clients) clients_ = facts_->queries.names();
    schema_.task = facts_->labels.task();
    schema_.classes = facts_->labels.names().size();
    schema_.label_names = facts_->labels.names();
    schema_.feature_shape.assign(1, facts_->features);
  }

  const Schema& schema() const override { return schema_; }
  const std::vector<std::string>& client_names() const override { return clients_; }
  void rewind() override { reader_.rewind(); }

  bool next(Example& example) override {
    if (!reader_.next()) return false;
    std::fill(features_.begin(), features_.end(), 0.0F);
    for (const Entry& e : reader_.entries()) {
      if (e.column >= features_.size())
        reader_.lines().refuse(fmt::format("at most {} features (--features allows more)", features_.size()),
                               fmt::format("index {}", reader_.index(e.column)));
      features_[e.column] = e.value;
    }
    example.features = std::as_bytes(std::span(features_));
    facts_->labels.read(reader_.label(), reader_.lines(), example, target_);
    example.client = clients_.empty() ? 0 : facts_->queries.find(reader_.query(), reader_.lines());
    return true;
  }

 private:
  LibsvmReader reader_;
  std::shared_ptr<const LibsvmFacts> facts_;
  Schema schema_;
  std::vector<std::string> clients_;
  std::vector<float> features_;
  float target_ = 0.0F;
};

}  // namespace

Input open_libsvm(const std::string& train, const std::string& test, const LibsvmOptions& options) {
  if (options.features > kMostFeatures)
    fail(ExitCode::usage, "--features: expected at most {}, found {}", kMostFeatures, options.features);
  const std::shared_ptr<const LibsvmFacts> facts = learn_facts(train, options);
  const auto open = [&](const std::string& path, bool with_clients) {
    return std::make_unique<LibsvmSource>(path, options.zero_based, facts, with_clients);
  };
  Input input{open(train, true)};
  if (!test.empty()) input.test = open(test, false);
  return input;
}

}  // namespace fedmpi::data
