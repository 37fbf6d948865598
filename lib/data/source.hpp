// An input of `fedmpi shard`: examples in a fixed order that can be read again and again, so that inputs
// larger than memory are read in several passes instead of held.
#pragma once

#include <memory>
#include <string>
#include <vector>

#include "data/schema.hpp"

namespace fedmpi::data {

class Source {
 public:
  virtual ~Source() = default;
  virtual const Schema& schema() const = 0;
  // Names of the natural clients, in the order of Example::client; empty where the input has none.
  virtual const std::vector<std::string>& client_names() const = 0;
  virtual void rewind() = 0;                // back to the first example
  virtual bool next(Example& example) = 0;  // false at the end; Error(bad_data) names file and line or row
};

// What a SOURCE of `fedmpi shard` opens as.
struct Input {
  std::unique_ptr<Source> train;
  std::unique_ptr<Source> test = nullptr;  // null where the input has no test data; else of the same schema
  std::string solution = {};               // known solution as CSV, of a generator that has one
};

}  // namespace fedmpi::data
