// The kinds of input that `fedmpi shard` knows, by the word before the colon.
#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "data/source.hpp"

namespace fedmpi::data {

// Options of single kinds; open_source() refuses those that its kind does not take.
struct SourceOptions {
  std::string test;           // --test: a separate test input of the same format
  std::string label;          // --label: the CSV column of the labels
  std::string client_column;  // --client-column: the CSV column that names clients
  std::optional<Task> task;   // --task, where the text does not say
  std::size_t features = 0;   // --features of LIBSVM; 0 = the largest index
  std::size_t clients = 0;    // --clients, for a generator of natural clients; 0 = its default
  std::uint64_t seed = 0;     // of generators
};

struct Input {
  std::unique_ptr<Source> train;
  std::unique_ptr<Source> test = nullptr;     // null where the input has no test data; else of the same schema
  std::vector<std::string> label_names = {};  // of the classes, where they were named by a text
  std::string solution = {};                  // known solution as CSV, of a generator that has one
};

// `specification` is KIND:WHAT, such as "idx:DIR". Error(usage) for an unknown kind, a malformed
// specification or an option that does not fit; Error(bad_data) for a file that cannot be believed.
Input open_source(std::string_view specification, const SourceOptions& options);

struct SourceKind {
  std::string_view name, usage, summary;
};
std::span<const SourceKind> source_kinds();

}  // namespace fedmpi::data
