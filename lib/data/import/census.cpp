#include "data/import/census.hpp"

#include <algorithm>
#include <limits>

#include "base/error.hpp"
#include "data/import/labels.hpp"

namespace fedmpi::data {

Census take_census(Source& source, const std::string& name, const Progress& progress) {
  const bool classification = source.schema().task == Task::classification;
  const bool natural = !source.client_names().empty();
  constexpr std::size_t kMost = std::numeric_limits<std::uint32_t>::max() - 1;
  Census census;
  Example example;
  for (source.rewind(); source.next(example); ++census.examples) {
    if (census.examples == kMost) fail(ExitCode::bad_data, "{}: expected at most {} examples, found more", name, kMost);
    if (classification) {
      const auto classes = static_cast<std::size_t>(example.label) + 1;
      if (classes > kMostClasses)
        fail(ExitCode::bad_data, "{}: example {}: expected a label below {} (--labels dense renumbers), found {}", name,
             census.examples, kMostClasses, example.label);
      census.classes = std::max(census.classes, classes);
      census.labels.push_back(example.label);
    }
    if (natural) census.clients.push_back(static_cast<std::uint32_t>(example.client));
    progress("reading", census.examples, 0);
  }
  if (census.examples == 0) fail(ExitCode::bad_data, "{}: expected at least one example, found none", name);
  return census;
}

}  // namespace fedmpi::data
