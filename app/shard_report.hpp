// What `fedmpi shard` says of the shards it has made.
#pragma once

#include <cstdint>
#include <span>
#include <string>

#include "data/import/census.hpp"
#include "data/partition.hpp"
#include "data/schema.hpp"

namespace fedmpi::app {

struct ShardReport {
  std::string out;  // the directory
  const data::Schema& schema;
  const data::Census& census;  // of the input, what is held out included
  const data::Assignment& assignment;
  std::span<const std::uint64_t> sizes;  // examples of each client
  std::size_t files;                     // without the test data's
  std::size_t test_examples;
};

// On standard output.
void print(const ShardReport& report);

}  // namespace fedmpi::app
