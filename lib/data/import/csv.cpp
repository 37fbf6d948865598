#include "data/import/csv.hpp"

#include <fmt/ranges.h>

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
    if (line.starts_with("\xEF\xBB\xBF")) line.remove_prefix(3);  // the byte order mark that some editors write
    fields_.clear();
    split_fields(line);
    header_ = fields_;
  }

  bool next() {
    std::string_view line;
    if (!lines_.next(line)) return false;
    const std::size_t found = split_fields(line);
    if (found != header_.size())
      lines_.refuse(fmt::format("{} fields as in the header", header_.size()), std::to_string(found));
    return true;
  }

  std::size_t column(const std::string& name) const {
    std::size_t found = header_.size();
    for (std::size_t c = 0; c < header_.size(); ++c) {
      if (header_[c] != name) continue;
      if (found < header_.size()) lines_.refuse(fmt::format("one column '{}'", name), "several");
      found = c;
    }
    if (found == header_.size())
      lines_.refuse(fmt::format("a column '{}'", name), in_quotes(fmt::format("{}", fmt::join(header_, ", "))));
    return found;
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

  // Each takes the field at `at` and returns where its comma, or the end of the line, is.
  static std::size_t take_plain(std::string_view line, std::size_t at, std::string& field) {
    const std::size_t end = std::min(line.find(',', at), line.size());
    field.assign(trim(line.substr(at, end - at)));
    return end;
  }
  std::size_t take_quoted(std::string_view line, std::size_t at, std::string& field) const {
    field.clear();
    for (++at;; ++at) {
      if (at >= line.size()) lines_.refuse("a closing quote on the same line", "the line's end");
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

constexpr std::size_t kNoColumn = static_cast<std::size_t>(-1);

// What the training file settles, and a test file has to follow.
struct CsvFacts {
  explicit CsvFacts(const CsvOptions& options) : labels(options.task) {}

  std::vector<std::string> header;
  std::size_t label_column = 0, client_column = kNoColumn;
  LabelMap labels;
  std::vector<std::string> client_names;  // in the order of their first appearance
  std::unordered_map<std::string, std::uint64_t> client_index;

  bool is_feature(std::size_t column) const { return column != label_column && column != client_column; }
  std::size_t features() const {  // the labels may name the clients too: then one column is both
    return header.size() - (client_column == kNoColumn || client_column == label_column ? 1 : 2);
  }
};

std::shared_ptr<const CsvFacts> learn_facts(const std::string& path, const CsvOptions& options) {
  auto facts = std::make_shared<CsvFacts>(options);
  CsvReader reader(path);
  facts->header = reader.header();
  facts->label_column = reader.column(options.label);
  if (!options.client_column.empty()) facts->client_column = reader.column(options.client_column);
  if (facts->features() == 0) reader.lines().refuse("a column of features beside the label", "none");
  while (reader.next()) {
    const std::string& label = reader[facts->label_column];
    const std::string expected = facts->labels.add(label);
    if (!expected.empty()) reader.lines().refuse(expected, in_quotes(label));
    if (facts->client_column == kNoColumn) continue;
    const std::string& client = reader[facts->client_column];
    if (client.empty()) reader.lines().refuse("a client's name", "an empty field");
    if (facts->client_index.try_emplace(client, facts->client_names.size()).second)
      facts->client_names.push_back(client);
  }
  facts->labels.settle();
  return facts;
}

class CsvSource final : public Source {
 public:
  CsvSource(const std::string& path, std::shared_ptr<const CsvFacts> facts, bool with_clients)
      : reader_(path), facts_(std::move(facts)), with_clients_(with_clients) {
    if (reader_.header() != facts_->header)
      fail(ExitCode::bad_data, "{}: expected the same columns as in the training file, found others", path);
    schema_.task = facts_->labels.task();
    schema_.classes = facts_->labels.classes();
    schema_.feature_shape = {facts_->features()};
    features_.resize(schema_.features());
  }

  const Schema& schema() const override { return schema_; }
  const std::vector<std::string>& client_names() const override {
    return with_clients_ ? facts_->client_names : no_clients_;
  }
  void rewind() override { reader_.rewind(); }

  bool next(Example& example) override {
    if (!reader_.next()) return false;
    std::size_t i = 0;
    for (std::size_t c = 0; c < facts_->header.size(); ++c)
      if (facts_->is_feature(c)) features_[i++] = number(c);
    example.features = std::as_bytes(std::span(features_));
    if (schema_.task == Task::classification) {
      example.label = label();
    } else {
      target_ = number(facts_->label_column);
      example.target = {&target_, 1};
    }
    example.client = with_clients_ && facts_->client_column != kNoColumn ? client() : 0;
    return true;
  }

 private:
  float number(std::size_t column) const {
    const std::optional<float> value = parse_float(reader_[column]);
    if (!value)
      reader_.lines().refuse(fmt::format("a finite number in column '{}'", facts_->header[column]),
                             in_quotes(reader_[column]));
    return *value;
  }
  std::int32_t label() const {
    const std::string& text = reader_[facts_->label_column];
    const std::optional<std::int32_t> label = facts_->labels.find(text);
    if (!label) reader_.lines().refuse("a label that the training data has", in_quotes(text));
    return *label;
  }
  std::uint64_t client() const {
    const auto found = facts_->client_index.find(reader_[facts_->client_column]);
    if (found == facts_->client_index.end()) reader_.lines().refuse("a client seen before", "a file that has changed");
    return found->second;
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

CsvInput open_csv(const std::string& train, const std::string& test, const CsvOptions& options) {
  const std::shared_ptr<const CsvFacts> facts = learn_facts(train, options);
  CsvInput input{std::make_unique<CsvSource>(train, facts, true), nullptr, facts->labels.names()};
  if (!test.empty()) input.test = std::make_unique<CsvSource>(test, facts, false);
  return input;
}

}  // namespace fedmpi::data
