#include "checkpoint/history.hpp"

#include <gtest/gtest.h>

#include <algorithm>
#include <set>

namespace fedmpi::checkpoint {
namespace {

TEST(Columns, CoverTheWholeRow) {
  const std::vector<Column> all = columns("accuracy");
  std::set<std::size_t> offsets;
  std::set<std::string> names;
  for (const Column& c : all) {
    offsets.insert(c.offset);
    names.insert(c.name);
  }
  EXPECT_EQ(all.size() * sizeof(double), sizeof(Row)) << "a field without a column, or a gap";
  EXPECT_EQ(offsets.size(), all.size());
  EXPECT_EQ(names.size(), all.size());
  EXPECT_EQ(*offsets.rbegin(), sizeof(Row) - sizeof(double));
}

TEST(Columns, NameTheMetricOfTheTask) {
  const auto has = [](const std::string& metric, const std::string& name) {
    const std::vector<Column> all = columns(metric);
    return std::any_of(all.begin(), all.end(), [&](const Column& c) { return c.name == name; });
  };
  EXPECT_TRUE(has("accuracy", "test_accuracy"));
  EXPECT_TRUE(has("rmse", "test_rmse"));
  EXPECT_FALSE(has("rmse", "test_accuracy"));
}

TEST(Csv, HasALinePerRowAndEmptyCellsForTheUnknown) {
  const std::vector<Column> some = {{"round", offsetof(Row, round), true},
                                    {"test_loss", offsetof(Row, test_loss), false},
                                    {"update_norm", offsetof(Row, update_norm), false},
                                    {"clients", offsetof(Row, clients), true}};
  EXPECT_EQ(csv_header(some), "round,test_loss,update_norm,clients\n");
  Row row;
  row.round = 1234567890123;
  row.update_norm = 0.125;
  EXPECT_EQ(csv_line(some, row), "1234567890123,,0.125,0\n");
  const std::vector<Column> all = columns("rmse");
  const auto commas = [](const std::string& line) { return std::count(line.begin(), line.end(), ','); };
  EXPECT_EQ(commas(csv_line(all, row)), commas(csv_header(all)));
}

}  // namespace
}  // namespace fedmpi::checkpoint
