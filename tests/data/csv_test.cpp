#include "data/import/csv.hpp"

#include "fixtures.hpp"

namespace fedmpi::data {
namespace {

using test::expect_error;
using test::read_all;
using test::TemporaryDirectory;

std::unique_ptr<Source> open(const std::string& path, const std::string& label = "y", const std::string& clients = "",
                             std::optional<Task> task = {}) {
  return open_csv(path, "", {label, clients, task}).train;
}

TEST(Csv, MapsWordsToClassesInOrderOfAlphabet) {
  const TemporaryDirectory dir;
  const CsvInput input = open_csv(dir.write("data", "a,y,b\n1,dog,2\n3,cat,4.5\n-1e2,dog,+6\n"), "", {"y", "", {}});
  EXPECT_EQ(input.label_names, (std::vector<std::string>{"cat", "dog"}));
  EXPECT_EQ(input.train->schema().classes, 2U);
  EXPECT_EQ(input.train->schema().feature_shape, std::vector<std::size_t>{2});
  const auto rows = read_all(*input.train);
  ASSERT_EQ(rows.size(), 3U);
  EXPECT_EQ(rows[0].features, (std::vector<float>{1, 2}));
  EXPECT_EQ(rows[1].features, (std::vector<float>{3, 4.5}));
  EXPECT_EQ(rows[2].features, (std::vector<float>{-100, 6}));
  EXPECT_EQ(rows[0].label, 1);
  EXPECT_EQ(rows[1].label, 0);
  EXPECT_EQ(read_all(*input.train), rows);
}

TEST(Csv, ReadsQuotedFieldsBlanksAndAnyLineEnding) {
  const TemporaryDirectory dir;
  const auto source = open(
      dir.write_gz("data.gz", "\xEF\xBB\xBF\"y\", \"x, \"\"1\"\"\" ,z\r\n\r\n\"b, \"\"c\"\"\", 1 ,\t2\r\n a ,\"3\",4"));
  const auto rows = read_all(*source);
  ASSERT_EQ(rows.size(), 2U);
  EXPECT_EQ(rows[0].features, (std::vector<float>{1, 2}));
  EXPECT_EQ(rows[0].label, 1);  // 'b, "c"' after 'a'
  EXPECT_EQ(rows[1].features, (std::vector<float>{3, 4}));
}

TEST(Csv, TellsTheTaskByTheLabels) {
  const TemporaryDirectory dir;
  const auto task_of = [&](const std::string& labels, std::optional<Task> task = {}) {
    std::string text = "y,x\n";
    for (const char label : labels) text += std::string(1, label) + ",0\n";
    return open(dir.write("data", text), "y", "", task)->schema().task;
  };
  EXPECT_EQ(task_of("0123"), Task::classification);
  EXPECT_EQ(task_of("ab"), Task::classification);
  EXPECT_EQ(task_of("0123", Task::regression), Task::regression);
  EXPECT_EQ(open(dir.write("data", "y,x\n1.5,0\n2,0\n"))->schema().task, Task::regression);

  std::string many = "y,x\n";
  for (int i = 0; i <= 100; ++i) many += std::to_string(i) + ",0\n";
  EXPECT_EQ(open(dir.write("many", many))->schema().task, Task::regression);
  EXPECT_EQ(open(dir.write("many", many), "y", "", Task::classification)->schema().classes, 101U);
}

TEST(Csv, GivesNumbersAsTargets) {
  const TemporaryDirectory dir;
  const auto rows = read_all(*open(dir.write("data", "x,y\n1,2.5\n3,-4\n")));
  EXPECT_EQ(rows[0].target, std::vector<float>{2.5F});
  EXPECT_EQ(rows[1].target, std::vector<float>{-4.0F});
}

TEST(Csv, OrdersNumericLabelsByValue) {
  const TemporaryDirectory dir;
  const CsvInput input = open_csv(dir.write("data", "x,y\n0,10\n0,9\n0,+9.0\n0,-1\n"), "", {"y", "", {}});
  EXPECT_EQ(input.label_names, (std::vector<std::string>{"-1", "9", "10"}));
  const auto rows = read_all(*input.train);
  EXPECT_EQ(rows[0].label, 2);
  EXPECT_EQ(rows[1].label, 1);
  EXPECT_EQ(rows[2].label, 1);
  EXPECT_EQ(rows[3].label, 0);
}

TEST(Csv, NamesClientsByTheirColumn) {
  const TemporaryDirectory dir;
  const auto source = open(dir.write("data", "site,x,y\nB,1,0\nA,2,1\nB,3,1\n"), "y", "site");
  EXPECT_EQ(source->client_names(), (std::vector<std::string>{"B", "A"}));
  EXPECT_EQ(source->schema().feature_shape, std::vector<std::size_t>{1});
  const auto rows = read_all(*source);
  EXPECT_EQ(rows[0].client, 0U);
  EXPECT_EQ(rows[1].client, 1U);
  EXPECT_EQ(rows[2].client, 0U);
}

TEST(Csv, LabelsMayNameTheClients) {
  const TemporaryDirectory dir;
  const auto source = open(dir.write("data", "a,y,b\n1,cat,2\n3,dog,4\n5,cat,6\n"), "y", "y");
  EXPECT_EQ(source->schema().features(), 2U);
  EXPECT_EQ(source->client_names(), (std::vector<std::string>{"cat", "dog"}));
  const auto rows = read_all(*source);
  EXPECT_EQ(rows[1].client, 1U);
  EXPECT_EQ(rows[2].client, 0U);
  EXPECT_EQ(rows[2].label, 0);
}

TEST(Csv, GivesTestDataTheTrainingLabels) {
  const TemporaryDirectory dir;
  const std::string train = dir.write("train", "site,x,y\nA,1,b\nA,1,c\nA,1,a\n");
  const CsvOptions options{"y", "site", {}};
  const CsvInput input = open_csv(train, dir.write("test", "site,x,y\nnew,5,c\n"), options);
  EXPECT_EQ(read_all(*input.test)[0].label, 2);
  EXPECT_TRUE(input.test->client_names().empty());
  expect_error(ExitCode::bad_data, {"test:2", "'d'"},
               [&] { read_all(*open_csv(train, dir.write("test", "site,x,y\nA,5,d\n"), options).test); });
  expect_error(ExitCode::bad_data, {"same columns"},
               [&] { open_csv(train, dir.write("test", "site,y,x\nA,c,5\n"), options); });
}

TEST(Csv, NamesFileAndLineOfWhatItRefuses) {
  const TemporaryDirectory dir;
  const auto refuses = [&](const std::string& content, const std::vector<std::string>& parts) {
    expect_error(ExitCode::bad_data, parts, [&] { read_all(*open(dir.write("data", content))); });
  };
  refuses("", {"data", "header"});
  refuses("a,b\n1,2\n", {"data:1", "a column 'y'", "a, b"});
  refuses("y,x,y\n1,2,3\n", {"data:1", "one column 'y'"});
  refuses("y\n1\n", {"data:1", "column of features"});
  refuses("x,y\n1,2\n1\n", {"data:3", "expected 2 fields", "found 1"});
  refuses("x,y\n1,2\n\n1,2,3\n", {"data:4", "found 3"});
  refuses("x,y\n1,a\n,a\n", {"data:3", "column 'x'", "''"});
  refuses("x,y\n1,a\n1.2.3,a\n", {"data:3", "'1.2.3'"});
  refuses("x,y\nnan,a\n", {"data:2", "finite number"});
  refuses("x,y\n1e39,a\n", {"data:2", "finite number"});
  refuses("x,y\n1,\n", {"data:2", "a label"});
  refuses("x,y\n1,NaN\n", {"data:2", "a label"});
  refuses("x,y\n\"1,a\n", {"data:2", "closing quote"});
  refuses("x,y\n\"1\"2,a\n", {"data:2", "comma after a quoted field"});
  expect_error(ExitCode::bad_data, {"data:2", "finite number as label"},
               [&] { open(dir.write("data", "x,y\n1,a\n"), "y", "", Task::regression); });
  expect_error(ExitCode::bad_data, {"data:3", "client's name"},
               [&] { open(dir.write("data", "x,y,c\n1,1,a\n1,1,\n"), "y", "c"); });
}

}  // namespace
}  // namespace fedmpi::data
