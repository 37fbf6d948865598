// Comma-separated values (RFC 4180) with a header line; every column but the label's and the client's is a
// number.
#pragma once

#include <optional>
#include <string>
#include <vector>

#include "data/import/labels.hpp"
#include "data/source.hpp"

namespace fedmpi::data {

struct CsvOptions {
  std::string label;          // column of the labels, by name
  std::string client_column;  // column that names each example's client; empty = no natural clients
  std::optional<Task> task;
  std::vector<std::string> drop;  // columns to leave out; '' = those without a name
};

// The files are read gzipped or not. A quoted field may hold commas, doubled quotes and line breaks. Columns are
// named in the schema, and so are classes or target. `test` may be empty; its labels are mapped as those of `train`,
// and its columns must be the same.
Input open_csv(const std::string& train, const std::string& test, const CsvOptions& options);

}  // namespace fedmpi::data
