#include "data/import/labels.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <cctype>
#include <cmath>

#include "data/import/text.hpp"

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

std::string LabelMap::add(std::string_view label) {
  const std::optional<double> number = parse_number(label);
  if (label.empty() || is_nan_or_infinity(label)) return "a label";
  if (task_ == Task::regression) return parse_float(label) ? "" : "a finite number as label";
  numbers_ = numbers_ && number;
  whole_ = whole_ && number && std::trunc(*number) == *number;
  if (!distinct_.contains(label)) distinct_.emplace(label);
  if (!task_ && numbers_ && distinct_.size() > kFew) {
    task_ = Task::regression;
    distinct_.clear();
  }
  if (distinct_.size() > kMostClasses) return fmt::format("at most {} different labels", kMostClasses);
  return {};
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

}  // namespace fedmpi::data
