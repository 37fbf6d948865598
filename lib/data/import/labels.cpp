#include "data/import/labels.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <cctype>
#include <cmath>

namespace fedmpi::data {

namespace {

constexpr std::size_t kFew = 100;

bool is_nan_or_infinity(std::string_view text) {
  if (text.starts_with('-') || text.starts_with('+')) text.remove_prefix(1);
  std::string lower(text);
  for (char& c : lower) c = static_cast<char>(std::tolower(static_cast<unsigned char>(c)));
  return lower == "nan" || lower == "inf" || lower == "infinity";
}

// The index of `key` in a sorted vector.
template <class T, class Key>
std::optional<std::int32_t> index_of(const std::vector<T>& sorted, const Key& key) {
  const auto at = std::lower_bound(sorted.begin(), sorted.end(), key);
  if (at == sorted.end() || *at != key) return {};
  return static_cast<std::int32_t>(at - sorted.begin());
}

}  // namespace

void LabelMap::add(std::string_view label, const LineReader& lines) {
  if (label.empty()) lines.refuse("a label", "an empty one");
  if (is_nan_or_infinity(label)) lines.refuse("a finite number or a word as label", in_quotes(label));
  if (task_ == Task::regression) {
    if (!parse_float(label)) lines.refuse(fmt::format("{} as label", kFloat), in_quotes(label));
    return;
  }
  const std::optional<double> number = parse_number(label);
  if (first_line_ == 0) {
    first_ = label;
    first_line_ = lines.number();
  } else if (!task_ && number.has_value() != numbers_) {
    lines.refuse("labels that are all numbers or all words (--task classification takes both)",
                 fmt::format("{} here and {} in line {}", in_quotes(label), in_quotes(first_), first_line_));
  }
  numbers_ = numbers_ && number;
  whole_ = whole_ && number && std::trunc(*number) == *number;
  if (!distinct_.contains(label)) distinct_.emplace(label);
  if (!task_ && numbers_ && distinct_.size() > kFew) {
    task_ = Task::regression;
    distinct_.clear();
  }
  if (distinct_.size() > kMostClasses)
    lines.refuse(fmt::format("at most {} different labels", kMostClasses), "another one: " + in_quotes(label));
}

void LabelMap::settle() {
  if (!task_) task_ = numbers_ && !whole_ ? Task::regression : Task::classification;
  if (task_ == Task::classification && numbers_) {
    // "1", "+1" and "1.0" are one class.
    for (const std::string& label : distinct_) values_.push_back(*parse_number(label));
    std::sort(values_.begin(), values_.end());
    values_.erase(std::unique(values_.begin(), values_.end()), values_.end());
    for (const double value : values_) names_.push_back(fmt::format("{}", value));
  } else if (task_ == Task::classification) {
    names_.assign(distinct_.begin(), distinct_.end());
  }
  distinct_.clear();
}

std::optional<std::int32_t> LabelMap::find(std::string_view label) const {
  if (!numbers_) return index_of(names_, label);
  const std::optional<double> number = parse_number(label);
  return number ? index_of(values_, *number) : std::nullopt;
}

void LabelMap::read(std::string_view label, const LineReader& lines, Example& example, float& target) const {
  if (task_ == Task::classification) {
    const std::optional<std::int32_t> found = find(label);
    if (!found) lines.refuse("a label that the training data has", in_quotes(label));
    example.label = *found;
  } else {
    const std::optional<float> value = parse_float(label);
    if (!value) lines.refuse(fmt::format("{} as label", kFloat), in_quotes(label));
    target = *value;
    example.target = {&target, 1};
  }
}

void ClientMap::add(std::string_view name, const LineReader& lines) {
  if (name.empty()) lines.refuse("a client's name", "an empty field");
  if (index_.try_emplace(std::string(name), names_.size()).second) names_.emplace_back(name);
}

std::uint64_t ClientMap::find(std::string_view name, const LineReader& lines) const {
  const auto found = index_.find(std::string(name));
  if (found == index_.end()) lines.refuse("a client seen before", "a file that has changed");
  return found->second;
}

}  // namespace fedmpi::data
