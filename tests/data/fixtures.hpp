// What the tests of inputs share: a directory that goes away, files in it, and a source read to its end.
#pragma once

#include <gtest/gtest.h>
#include <zlib.h>

#include <cstdlib>
#include <cstring>
#include <filesystem>
#include <fstream>
#include <string>
#include <vector>

#include "base/error.hpp"
#include "data/import/census.hpp"
#include "data/source.hpp"
#include "support/temporary_directory.hpp"

namespace fedmpi::data::test {

// With input files in it.
class TemporaryDirectory : public fedmpi::test::TemporaryDirectory {
 public:
  std::string write(const std::string& name, const std::string& content) const {
    std::ofstream(*this / name, std::ios::binary) << content;
    return *this / name;
  }
  std::string write_gz(const std::string& name, const std::string& content) const {
    const gzFile file = gzopen((*this / name).c_str(), "wb");
    gzwrite(file, content.data(), static_cast<unsigned>(content.size()));
    gzclose(file);
    return *this / name;
  }
  // The first `bytes` bytes of another file.
  std::string write_cut(const std::string& name, const std::string& of, std::size_t bytes) const {
    std::ifstream in(of, std::ios::binary);
    std::string content(std::istreambuf_iterator<char>(in), {});
    return write(name, content.substr(0, bytes));
  }
};

struct Row {
  std::vector<float> features;  // as stored, bytes too
  std::int32_t label = 0;
  std::vector<float> target;
  std::uint64_t client = 0;
  bool operator==(const Row&) const = default;
};

inline std::vector<Row> read_all(Source& source) {
  std::vector<Row> rows;
  Example e;
  for (source.rewind(); source.next(e);) {
    Row row;
    row.features.resize(source.schema().features());
    EXPECT_EQ(e.features.size(), source.schema().row_bytes());
    if (source.schema().type == FeatureType::float32)
      std::memcpy(row.features.data(), e.features.data(), e.features.size());
    else
      for (std::size_t i = 0; i < row.features.size(); ++i)
        row.features[i] = std::to_integer<std::uint8_t>(e.features[i]);
    if (source.schema().task == Task::classification)
      row.label = e.label;
    else
      row.target.assign(e.target.begin(), e.target.end());
    row.client = e.client;
    rows.push_back(std::move(row));
  }
  return rows;
}

// Runs `action`, which must throw an Error of that code whose message has every one of `parts`.
template <class Action>
void expect_error(ExitCode code, const std::vector<std::string>& parts, Action&& action) {
  try {
    action();
    ADD_FAILURE() << "expected an error, found none";
  } catch (const Error& e) {
    EXPECT_EQ(e.code(), code) << e.what();
    for (const std::string& part : parts) EXPECT_NE(std::string(e.what()).find(part), std::string::npos) << e.what();
  }
}

inline void no_progress(const char*, std::size_t, std::size_t) {}

}  // namespace fedmpi::data::test
