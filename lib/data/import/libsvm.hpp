// LIBSVM's text format (Chang and Lin): a line per example, "LABEL INDEX:VALUE …" with ascending indices from
// one; what is absent is zero, and what follows a # is a comment.
#pragma once

#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "data/import/labels.hpp"
#include "data/source.hpp"

namespace fedmpi::data {

struct LibsvmOptions {
  std::size_t features = 0;  // 0 = the largest index in the training file
  std::optional<Task> task;
};

// The files are read gzipped or not; the examples become dense float32 rows. `test` may be empty; its labels
// are mapped as those of `train`, and no index in it may be larger than the training file's features.
struct LibsvmInput {
  std::unique_ptr<Source> train, test;
  std::vector<std::string> label_names;  // of the classes
};
LibsvmInput open_libsvm(const std::string& train, const std::string& test, const LibsvmOptions& options);

}  // namespace fedmpi::data
