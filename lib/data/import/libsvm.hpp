// LIBSVM's text format (Chang and Lin): a line per example, "LABEL INDEX:VALUE …" with ascending indices from
// one; what is absent is zero, and what follows a # is a comment. Ranking data (Joachims's SVM-rank) has a query's
// number, qid:N, after every label: the queries are the natural clients.
#pragma once

#include <optional>
#include <string>

#include "data/import/labels.hpp"
#include "data/source.hpp"

namespace fedmpi::data {

struct LibsvmOptions {
  std::size_t features = 0;  // 0 = the largest index in the training file
  std::optional<Task> task;
  bool zero_based = false;  // indices from zero
};

// The files are read gzipped or not; the examples become dense float32 rows, and the schema names the classes. `test`
// may be empty; its labels are mapped as those of `train`, and no index in it may be larger than the
// training file's features.
Input open_libsvm(const std::string& train, const std::string& test, const LibsvmOptions& options);

}  // namespace fedmpi::data
