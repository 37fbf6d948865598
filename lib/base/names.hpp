// Tables of named choices. A table is an array of rows that begin with `name` and `summary`; an unknown name
// is answered with the known ones.
#pragma once

#include <span>
#include <string>
#include <string_view>

#include "base/error.hpp"

namespace fedmpi {

// "fedsgd, fedavg": the names of a table, for messages and --help.
template <class Table>
std::string names_of(const Table& table) {
  std::string names;
  for (const auto& row : table) names.append(names.empty() ? "" : ", ").append(row.name);
  return names;
}

// The row called `name`; throws Error(usage) that lists the known names. `what` is the option's name.
template <class Table>
const auto& find_by_name(const Table& table, std::string_view name, std::string_view what) {
  for (const auto& row : table)
    if (row.name == name) return row;
  fail(ExitCode::usage, "{}: '{}' is not known; known are {}", what, name, names_of(table));
}

}  // namespace fedmpi
