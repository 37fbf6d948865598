#include "data/import/csv.hpp"

#include <fmt/ranges.h>

#include <algorithm>
#include <unordered_map>

#include "base/error.hpp"
#include "data/import/text.hpp"

namespace fedmpi::data {

namespace {

// A file's records. The strings are reused from line to line.
class CsvReader {
 public:
  explicit CsvReader(const std::string& path) : lines_(path) { rewind(); }

  const std::vector<std::string>& header() const { return header_; }
  const std::string& operator[](std::size_t column) const { return fields_[column]; }
  const LineReader& lines() const { return lines_; }

  void rewind() {
    lines_.rewind();
    std::string_view line;
    if (!lines_.next(line)) fail(ExitCode::bad_data, "{}: expected a header line, found an empty file", lines_.path());
    fields_.clear();
    split_fields(line);
    header_ = fields_;
  }

  bool next() {
    std::string_view line;
    if (!lines_.next(line)) return false;
    const std::size_t found = split_fields(line);
    if (found != header_.size())
      lines_.refuse(fmt::format("{} fields separated by commas, as in the header", header_.size()),
                    std::to_string(found));
    return true;
  }

  // The first column of that name.
  std::size_t column(const std::string& name) const {
    const auto found = std::find(header_.begin(), header_.end(), name);
    if (found == header_.end())
      lines_.refuse(fmt::format("a column '{}' in a header separated by commas", name),
                    in_quotes(fmt::format("{}", fmt::join(header_, ", "))));
    return static_cast<std::size_t>(found - header_.begin());
  }

 private:
  std::size_t split_fields(std::string_view line) {
    std::size_t count = 0;
    for (std::size_t at = 0;; ++at) {
      if (count == fields_.size()) fields_.emplace_back();
      at =
          line.find_first_not_of(" \t", at) == std::string_view::npos ? line.size() : line.find_first_not_of(" \t", at);
      at = at < line.size() && line[at] == '"' ? take_quoted(line, at, fields_[count])
                                               : take_plain(line, at, fields_[count]);
      ++count;
      if (at == line.size()) return count;
    }
  }

  // Each takes the field at `at` and returns where its comma, or the end of the line, is. A quoted one may go on in
  // the lines that follow.
  static std::size_t take_plain(std::string_view line, std::size_t at, std::string& field) {
    const std::size_t end = std::min(line.find(',', at), line.size());
    field.assign(trim(line.substr(at, end - at)));
    return end;
  }
  std::size_t take_quoted(std::string_view& line, std::size_t at, std::string& field) {
    field.clear();
    for (++at;; ++at) {
      if (at == line.size() && !lines_.extend(line)) lines_.refuse("a closing quote", "the end of the file");
      if (line[at] != '"')
        field += line[at];
      else if (at + 1 < line.size() && line[at + 1] == '"')
        field += line[at++];
      else
        break;
    }
    at = std::min(line.find_first_not_of(" \t", at + 1), line.size());
    if (at < line.size() && line[at] != ',')
      lines_.refuse("a comma after a quoted field", in_quotes(line.substr(at, 1)));
    return at;
  }

  LineReader lines_;
  std::vector<std::string> header_, fields_;
};

// What the training file settles, and a test file has to follow.
struct CsvFacts {
  explicit CsvFacts(const CsvOptions& options) : labels(options.task) {}

  std::vector<std::string> header;
  std::size_t label_column = 0;
  std::optional<std::size_t> client_column;  // the labels may name the clients too: then one column is both
  std::vector<std::size_t> features;         // their columns
  LabelMap labels;
  ClientMap clients;
};

// The columns that are neither label nor client nor dropped. Every column has a name of its own, or is dropped.
std::vector<std::size_t> feature_columns(const CsvReader& reader, const CsvFacts& facts,
                                         const std::vector<std::string>& drop) {
  const std::vector<std::string>& header = reader.header();
  for (const std::string& name : drop) {
    const std::size_t column = reader.column(name);
    if (column == facts.label_column || column == facts.client_column)
      fail(ExitCode::usage, "--drop: expected a column of features, found '{}', which has the {}", name,
           column == facts.label_column ? "labels" : "clients");
  }
  std::vector<std::size_t> features;
  std::unordered_map<std::string_view, std::size_t> seen;
  for (std::size_t c = 0; c < header.size(); ++c) {
    if (std::find(drop.begin(), drop.end(), header[c]) != drop.end()) continue;
    if (header[c].empty())
      reader.lines().refuse("a name for every column",
                            fmt::format("none for column {} (--drop '' leaves it out)", c + 1));
    const auto [first, is_new] = seen.try_emplace(header[c], c);
    if (!is_new)
      reader.lines().refuse("every column once",
                            fmt::format("{} as columns {} and {}", in_quotes(header[c]), first->second + 1, c + 1));
    if (c != facts.label_column && c != facts.client_column) features.push_back(c);
  }
  if (features.empty()) reader.lines().refuse("a column of features beside the label", "none");
  return features;
}

std::shared_ptr<const CsvFacts> learn_facts(const std::string& path, const CsvOptions& options) {
  auto facts = std::make_shared<CsvFacts>(options);
  CsvReader reader(path);
  facts->header = reader.header();
  facts->label_column = reader.column(options.label);
  if (!options.client_column.empty()) facts->client_column = reader.column(options.client_column);
  facts->features = feature_columns(reader, *facts, options.drop);
  while (reader.next()) {
    facts->labels.add(reader[facts->label_column], reader.lines());
    if (facts->client_column) facts->clients.add(reader[*facts->client_column], reader.lines());
  }
  facts->labels.settle();
  return facts;
}

class CsvSource final : public Source {
 public:
  CsvSource(const std::string& path, std::shared_ptr<const CsvFacts> facts, bool with_clients)
      : reader_(path), facts_(std::move(facts)), with_clients_(with_clients && facts_->client_column) {
    check_header();
    schema_.task = facts_->labels.task();
    schema_.classes = facts_->labels.names().size();
    schema_.feature_shape = {facts_->features.size()};
    for (const std::size_t c : facts_->features) schema_.columns.push_back(facts_->header[c]);
    if (schema_.task == Task::classification)
      schema_.label_names = facts_->labels.names();
    else
      schema_.label_names = {facts_->header[facts_->label_column]};
    features_.resize(schema_.features());
  }

  const Schema& schema() const override { return schema_; }
  const std::vector<std::string>& client_names() const override {
    return with_clients_ ? facts_->clients.names() : no_clients_;
  }
  void rewind() override { reader_.rewind(); }

  bool next(Example& example) override {
    if (!reader_.next()) return false;
    for (std::size_t i = 0; i < features_.size(); ++i) features_[i] = number(facts_->features[i]);
    example.features = std::as_bytes(std::span(features_));
    facts_->labels.read(reader_[facts_->label_column], reader_.lines(), example, target_);
    example.client = with_clients_ ? facts_->clients.find(reader_[*facts_->client_column], reader_.lines()) : 0;
    return true;
  }

 private:
  void check_header() const {
    const std::vector<std::string>&expected = facts_->header, &found = reader_.header();
    if (found.size() != expected.size())
      reader_.lines().refuse(fmt::format("{} columns as in the training file", expected.size()),
                             std::to_string(found.size()));
    const auto [e, f] = std::mismatch(expected.begin(), expected.end(), found.begin());
    if (e != expected.end())
      reader_.lines().refuse(
          fmt::format("{} as column {}, as in the training file", in_quotes(*e), e - expected.begin() + 1),
          in_quotes(*f));
  }

  float number(std::size_t column) const {
    const std::optional<float> value = parse_float(reader_[column]);
    if (!value)
      reader_.lines().refuse(fmt::format("{} in column '{}'", kFloat, facts_->header[column]),
                             in_quotes(reader_[column]));
    return *value;
  }

  CsvReader reader_;
  std::shared_ptr<const CsvFacts> facts_;
  bool with_clients_;
  Schema schema_;
  std::vector<std::string> no_clients_;
  std::vector<float> features_;
  float target_ = 0.0F;
};

}  // namespace

Input open_csv(const std::string& train, const std::string& test, const CsvOptions& options) {
  const std::shared_ptr<const CsvFacts> facts = learn_facts(train, options);
  Input input{std::make_unique<CsvSource>(train, facts, true)};
  if (!test.empty()) input.test = std::make_unique<CsvSource>(test, facts, false);
  return input;
}

}  // namespace fedmpi::data
