#include "shard_report.hpp"

#include <fmt/ranges.h>

#include <algorithm>
#include <numeric>

#include "base/plural.hpp"
#include "progress.hpp"

namespace fedmpi::app {

namespace {

using Counts = std::vector<std::uint64_t>;

void print_spread(const char* what, Counts values) {
  std::sort(values.begin(), values.end());
  const std::uint64_t middle = values[(values.size() - 1) / 2] + values[values.size() / 2];
  fmt::print("{:<20} min {}  median {}{}  max {}\n", what, values.front(), middle / 2, middle % 2 == 0 ? "" : ".5",
             values.back());
}

// Distinct labels of each client.
Counts label_variety(const ShardReport& r) {
  std::vector<std::size_t> begin(r.sizes.size() + 1);
  std::partial_sum(r.sizes.begin(), r.sizes.end(), begin.begin() + 1);
  std::vector<std::int32_t> labels(begin.back());
  std::vector<std::size_t> next = begin;
  for (std::size_t i = 0; i < r.census.examples; ++i) {
    const std::uint32_t client = r.assignment.client[i];
    if (client < r.sizes.size()) labels[next[client]++] = r.census.labels[i];
  }
  Counts variety(r.sizes.size());
  for (std::size_t c = 0; c < r.sizes.size(); ++c) {
    const auto first = labels.begin() + static_cast<std::ptrdiff_t>(begin[c]);
    const auto last = labels.begin() + static_cast<std::ptrdiff_t>(begin[c + 1]);
    std::sort(first, last);
    variety[c] = static_cast<std::uint64_t>(std::unique(first, last) - first);
  }
  return variety;
}

void print_label_counts(const ShardReport& r) {
  constexpr std::size_t kMostShown = 20;
  Counts counts(r.schema.classes);
  for (std::size_t i = 0; i < r.census.examples; ++i)
    if (r.assignment.client[i] < r.assignment.clients()) ++counts[static_cast<std::size_t>(r.census.labels[i])];
  if (counts.size() > kMostShown) return print_spread("examples per label", counts);
  for (std::size_t k = 0; k < counts.size(); ++k) {
    std::string label = std::to_string(k);
    if (!r.schema.label_names.empty()) label += printable(" = " + r.schema.label_names[k]);
    std::replace(label.begin(), label.end(), '\n', ' ');
    fmt::print("  label {:<12} {}\n", label, counts[k]);
  }
}

// "27 classes, 1 of them empty: 0": labels that begin at one, or have gaps, make classes without examples.
std::string classes_text(const ShardReport& r) {
  constexpr std::size_t kMostShown = 10;
  std::vector<bool> filled(r.schema.classes);
  for (const std::int32_t label : r.census.labels) filled[static_cast<std::size_t>(label)] = true;
  const auto empty = static_cast<std::size_t>(std::count(filled.begin(), filled.end(), false));
  std::string text = fmt::format("{} classes", r.schema.classes);
  if (empty == 0) return text;
  std::vector<std::size_t> shown;
  for (std::size_t k = 0; k < filled.size() && shown.size() < kMostShown; ++k)
    if (!filled[k]) shown.push_back(k);
  return text + fmt::format(", {} of them empty: {}{} (--labels dense leaves {} out)", empty, fmt::join(shown, ", "),
                            empty > shown.size() ? ", …" : "", empty == 1 ? "it" : "them");
}

}  // namespace

void print(const ShardReport& r) {
  const bool classification = r.schema.task == data::Task::classification;
  fmt::print("{}: {} in {}, {} of {} feature{}, {}\n", r.out, counted(r.sizes.size(), "client"),
             counted(r.files, "file"), counted(r.census.examples - r.assignment.held_out, "example"),
             r.schema.stored_text(), r.schema.features() == 1 ? "" : "s",
             classification ? classes_text(r) : counted(r.schema.targets, "target"));
  if (r.test_examples > 0) fmt::print("{}/test.h5: {}\n", r.out, counted(r.test_examples, "test example"));
  if (r.assignment.empty > 0)
    fmt::print("left out: {} without examples in the input\n", counted(r.assignment.empty, "client"));
  if (r.assignment.lost > 0)
    fmt::print("left out: {} whose examples are all held out\n", counted(r.assignment.lost, "client"));
  print_spread("examples per client", {r.sizes.begin(), r.sizes.end()});
  if (!classification) return;
  print_spread("labels per client", label_variety(r));
  print_label_counts(r);
}

}  // namespace fedmpi::app
