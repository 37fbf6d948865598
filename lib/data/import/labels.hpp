// What a text input says by words or numbers: the labels, which name classes or are numbers to predict, and the
// natural clients.
#pragma once

#include <cstdint>
#include <functional>
#include <optional>
#include <set>
#include <string>
#include <string_view>
#include <unordered_map>
#include <vector>

#include "data/import/text.hpp"
#include "data/schema.hpp"

namespace fedmpi::data {

inline constexpr std::size_t kMostClasses = 1'000'000;

// First add() every label, then settle() the task; from then on read() gives the examples their labels. `lines` is
// where the label stands: an Error(bad_data) names its file and line.
class LabelMap {
 public:
  explicit LabelMap(std::optional<Task> task) : task_(task) {}

  void add(std::string_view label, const LineReader& lines);
  // A task that was not given is classification when the labels are words, or whole numbers of which at most
  // 100 differ; numbers mixed with words are refused by add(). Classes are numbered in the labels' order, of
  // numbers by value, of words by alphabet.
  void settle();

  Task task() const { return *task_; }
  const std::vector<std::string>& names() const { return names_; }  // of the classes
  // Sets the example's label, or its target, which then lies in `target`.
  void read(std::string_view label, const LineReader& lines, Example& example, float& target) const;

 private:
  std::optional<std::int32_t> find(std::string_view label) const;

  std::optional<Task> task_;
  bool numbers_ = true, whole_ = true;
  std::string first_;  // the first label, and where it stands
  std::uint64_t first_line_ = 0;
  std::set<std::string, std::less<>> distinct_;  // until settled
  std::vector<std::string> names_;               // sorted, of words
  std::vector<double> values_;                   // sorted, of numbers
};

// The natural clients, numbered in the order of their first appearance.
class ClientMap {
 public:
  void add(std::string_view name, const LineReader& lines);
  std::uint64_t find(std::string_view name, const LineReader& lines) const;
  const std::vector<std::string>& names() const { return names_; }

 private:
  std::vector<std::string> names_;
  std::unordered_map<std::string, std::uint64_t> index_;
};

}  // namespace fedmpi::data
