#include "data/import/sources.hpp"

#include <algorithm>
#include <array>

#include "base/error.hpp"
#include "base/names.hpp"
#include "data/import/csv.hpp"
#include "data/import/dense_labels.hpp"
#include "data/import/idx.hpp"
#include "data/import/libsvm.hpp"
#include "data/import/linear.hpp"
#include "data/import/synthetic.hpp"
#include "data/import/text.hpp"
#include "data/import/tff.hpp"

namespace fedmpi::data {

namespace {

constexpr std::size_t kMostGeneratedClients = 10'000'000;
constexpr double kMostDeviation = 1e6;  // with which numbers are drawn: they have to fit a float32

struct Row : SourceKind {
  std::string_view options;  // those it takes, in blanks
  Input (*open)(const std::string& what, const SourceOptions& options);
};
extern const std::array<Row, 6> kRows;

[[noreturn]] void refuse_specification(std::string_view kind, std::string_view what) {
  const Row& row = find_by_name(kRows, kind, "source");
  fail(ExitCode::usage, "expected {} ({}), found '{}:{}'", row.usage, row.summary, kind, what);
}

Input open_idx_input(const std::string& what, const SourceOptions&) { return open_idx_directory(what); }

Input open_csv_input(const std::string& what, const SourceOptions& options) {
  if (options.label.empty()) fail(ExitCode::usage, "csv: expected --label COLUMN, found no such option");
  return open_csv(what, options.test, {options.label, options.client_column, options.task, options.drop});
}

Input open_libsvm_input(const std::string& what, const SourceOptions& options) {
  return open_libsvm(what, options.test, {options.features, options.task, options.zero_based});
}

Input open_tff_input(const std::string& what, const SourceOptions& options) {
  return {open_tff(what), options.test.empty() ? nullptr : open_tff(options.test)};
}

Input open_synthetic(const std::string& what, const SourceOptions& options) {
  const std::vector<std::string_view> parts = split(what, ',');
  const std::optional<double> alpha = parse_number(parts.front()), beta = parse_number(parts.back());
  if (parts.size() != 2 || !alpha || !beta || *alpha < 0 || *beta < 0 || std::max(*alpha, *beta) > kMostDeviation)
    refuse_specification("synthetic", what);
  if (options.clients > kMostGeneratedClients)
    fail(ExitCode::usage, "--clients: expected at most {} clients to generate, found {}", kMostGeneratedClients,
         options.clients);
  SyntheticOptions synthetic{.alpha = *alpha, .beta = *beta, .seed = options.seed};
  if (options.clients > 0) synthetic.clients = options.clients;
  return {make_synthetic(synthetic)};
}

Input open_linear(const std::string& what, const SourceOptions& options) {
  LinearOptions linear{.seed = options.seed};
  for (const std::string_view part : split(what, ',')) {
    if (what.empty()) break;
    const std::size_t equals = std::min(part.find('='), part.size());
    const std::string_view name = part.substr(0, equals);
    const std::optional<double> value = parse_number(part.substr(std::min(equals + 1, part.size())));
    const std::optional<std::uint64_t> count = parse_count(part.substr(std::min(equals + 1, part.size())));
    if (name == "noise" && value && *value >= 0 && *value <= kMostDeviation)
      linear.noise = *value;
    else if (name == "features" && count && *count > 0)
      linear.features = *count;
    else if (name == "examples" && count && *count > 0)
      linear.examples = *count;
    else if (name == "targets" && count && *count > 0)
      linear.targets = *count;
    else
      refuse_specification("linear", what);
  }
  if (std::max(linear.features, linear.targets) > 1'000'000 || linear.features * linear.targets > 100'000'000)
    fail(ExitCode::usage,
         "linear: expected at most 1,000,000 features or targets and 100,000,000 weights, found {} × {}",
         linear.features, linear.targets);
  return make_linear(linear);
}

const std::array<Row, 6> kRows = {{
    {{"idx", "idx:DIR", "train-images-idx3-ubyte, train-labels-idx1-ubyte and t10k-… (MNIST), or .gz"},
     "",
     open_idx_input},
    {{"csv", "csv:FILE", "with a header line; needs --label COLUMN; .gz too"},
     "--test --label --client-column --drop --task",
     open_csv_input},
    {{"libsvm", "libsvm:FILE", "LIBSVM text; .gz too"}, "--test --task --features --zero-based", open_libsvm_input},
    {{"tff", "tff:FILE", "HDF5 of TensorFlow Federated, with its clients"}, "--test", open_tff_input},
    {{"synthetic", "synthetic:A,B",
      "Synthetic(α, β) of the FedProx paper, A and B from 0 to 1000000, 30 or --clients natural clients"},
     "",
     open_synthetic},
    {{"linear", "linear:NAME=N,…",
      "linear regression: features=20,examples=5000,noise=0.1,targets=1, numbers above 0 and noise from 0 to 1000000; "
      "the solution goes to DIR/solution.csv"},
     "",
     open_linear},
}};

void refuse_foreign_options(const Row& row, const SourceOptions& options) {
  const std::array<std::pair<std::string_view, bool>, 7> given = {{{"--test", !options.test.empty()},
                                                                   {"--label", !options.label.empty()},
                                                                   {"--client-column", !options.client_column.empty()},
                                                                   {"--drop", !options.drop.empty()},
                                                                   {"--task", options.task.has_value()},
                                                                   {"--features", options.features != 0},
                                                                   {"--zero-based", options.zero_based}}};
  const std::vector<std::string_view> takes = split(row.options, ' ');
  for (const auto& [name, is_given] : given)
    if (is_given && std::find(takes.begin(), takes.end(), name) == takes.end())
      fail(ExitCode::usage, "{}: does not apply to a {} source", name, row.name);
}

}  // namespace

Input open_source(std::string_view specification, const SourceOptions& options) {
  const std::size_t colon = specification.find(':');
  const Row& row = find_by_name(kRows, specification.substr(0, colon), "source");
  if (colon == std::string_view::npos) fail(ExitCode::usage, "expected {}, found '{}'", row.usage, specification);
  refuse_foreign_options(row, options);
  Input input = row.open(std::string(specification.substr(colon + 1)), options);
  if (input.test != nullptr) {
    const Schema &train = input.train->schema(), &test = input.test->schema();
    if (train.feature_shape != test.feature_shape || train.type != test.type)
      fail(ExitCode::bad_data, "{}: expected test examples of {} features as the training examples, found {}",
           specification, train.stored_text(), test.stored_text());
  }
  return options.dense_labels ? with_dense_labels(std::move(input)) : std::move(input);
}

std::span<const SourceKind> source_kinds() {
  static const std::vector<SourceKind> kinds(kRows.begin(), kRows.end());
  return kinds;
}

}  // namespace fedmpi::data
