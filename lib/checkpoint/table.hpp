// The history as a dataset: a compound of named columns of 64-bit numbers.
#pragma once

#include <span>
#include <string>
#include <vector>

#include "base/digest.hpp"
#include "checkpoint/history.hpp"
#include "hdf5/file.hpp"

namespace fedmpi::checkpoint {

// `metric` names the column of the test metric: see columns().
void write_table(hdf5::File& file, const std::string& path, std::span<const Row> rows, const std::string& metric);

// A table as a file holds it, with whatever columns it has.
class Table {
 public:
  // Error(bad_data) for anything but named columns of 64-bit numbers.
  explicit Table(const hdf5::Dataset& dataset);

  std::vector<Row> rows(const std::string& metric) const;
  // Each column by its name and values, so that a program that knows others finds the same digest.
  void add_to(Digest& digest) const;
  std::span<const std::byte> bytes() const { return bytes_; }  // row by row, as the file holds them

 private:
  struct Member {
    std::string name;
    std::size_t offset;
    bool whole;
  };
  std::vector<Member> members_;
  std::size_t row_bytes_ = 0;
  std::vector<std::byte> bytes_;
};

// The same digest of rows in memory.
void add_to(Digest& digest, std::span<const Row> rows, const std::string& metric);

}  // namespace fedmpi::checkpoint
