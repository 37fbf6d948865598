// The kinds of input that `fedmpi shard` knows, by the word before the colon.
#pragma once

#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "data/source.hpp"

namespace fedmpi::data {

// Options of single kinds; open_source() refuses those that its kind does not take.
struct SourceOptions {
  std::string test;               // --test: a separate test input of the same format
  std::string label;              // --label: the CSV column of the labels
  std::string client_column;      // --client-column: the CSV column that names clients
  std::optional<Task> task;       // --task, where the text does not say
  std::size_t features = 0;       // --features of LIBSVM; 0 = the largest index
  bool zero_based = false;        // --zero-based: LIBSVM's indices begin at zero
  std::vector<std::string> drop;  // --drop: CSV columns to leave out, '' = those without a name
  bool dense_labels = false;      // --labels dense, of any kind: see dense_labels.hpp
  std::size_t clients = 0;        // --clients, for a generator of natural clients; 0 = its default
  std::uint64_t seed = 0;         // of generators
};

// `specification` is KIND:WHAT, such as "idx:DIR". Error(usage) for an unknown kind, a malformed
// specification or an option that does not fit; Error(bad_data) for a file that cannot be believed.
Input open_source(std::string_view specification, const SourceOptions& options);

struct SourceKind {
  std::string_view name, usage, summary;
};
std::span<const SourceKind> source_kinds();

}  // namespace fedmpi::data
