// The labels of a text input, as the text has them: words or numbers that name classes, or numbers to
// predict.
#pragma once

#include <cstdint>
#include <functional>
#include <optional>
#include <set>
#include <string>
#include <string_view>
#include <vector>

#include "data/schema.hpp"

namespace fedmpi::data {

inline constexpr std::size_t kMostClasses = 1'000'000;

// First add() every label, then settle() the task; from then on find() maps a label to its class.
class LabelMap {
 public:
  explicit LabelMap(std::optional<Task> task) : task_(task) {}

  // Empty when the label will do, else what was expected of it.
  std::string add(std::string_view label);
  // A task that was not given is classification when the labels are words, or whole numbers of which at most
  // 100 differ. Classes are numbered in the labels' order, of numbers by value, of words by alphabet.
  void settle();

  Task task() const { return *task_; }
  std::size_t classes() const { return names_.size(); }
  const std::vector<std::string>& names() const { return names_; }  // of the classes
  std::optional<std::int32_t> find(std::string_view label) const;   // empty for one that was never added

 private:
  std::optional<Task> task_;
  bool numbers_ = true, whole_ = true;
  std::set<std::string, std::less<>> distinct_;  // until settled
  std::vector<std::string> names_;               // sorted, of words
  std::vector<double> values_;                   // sorted, of numbers
};

}  // namespace fedmpi::data
