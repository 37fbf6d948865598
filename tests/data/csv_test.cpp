#include "data/import/csv.hpp"

#include "data/import/text.hpp"
#include "fixtures.hpp"

namespace fedmpi::data {
namespace {

using test::expect_error;
using test::read_all;
using test::TemporaryDirectory;

std::unique_ptr<Source> open(const std::string& path, const std::string& label = "y", const std::string& clients = "",
                             std::optional<Task> task = {}) {
  return open_csv(path, "", {label, clients, task, {}}).train;
}

TEST(Csv, MapsWordsToClassesInOrderOfAlphabet) {
  const TemporaryDirectory dir;
  const Input input = open_csv(dir.write("data", "a,y,b\n1,dog,2\n3,cat,4.5\n-1e2,dog,+6\n"), "", {"y", "", {}, {}});
  EXPECT_EQ(input.train->schema().label_names, (std::vector<std::string>{"cat", "dog"}));
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
  const Input input = open_csv(dir.write("data", "x,y\n0,10\n0,9\n0,+9.0\n0,-1\n"), "", {"y", "", {}, {}});
  EXPECT_EQ(input.train->schema().label_names, (std::vector<std::string>{"-1", "9", "10"}));
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
  const CsvOptions options{"y", "site", {}, {}};
  const Input input = open_csv(train, dir.write("test", "site,x,y\nnew,5,c\n"), options);
  EXPECT_EQ(read_all(*input.test)[0].label, 2);
  EXPECT_TRUE(input.test->client_names().empty());
  expect_error(ExitCode::bad_data, {"test:2", "'d'"},
               [&] { read_all(*open_csv(train, dir.write("test", "site,x,y\nA,5,d\n"), options).test); });
  expect_error(ExitCode::bad_data, {"test:1: expected 'x' as column 2", "found 'y'"},
               [&] { open_csv(train, dir.write("test", "site,y,x\nA,c,5\n"), options); });
  expect_error(ExitCode::bad_data, {"test:1: expected 3 columns", "found 2"},
               [&] { open_csv(train, dir.write("test", "x,y\n5,c\n"), options); });
}

TEST(Csv, NamesFileAndLineOfWhatItRefuses) {
  const TemporaryDirectory dir;
  const auto refuses = [&](const std::string& content, const std::vector<std::string>& parts) {
    expect_error(ExitCode::bad_data, parts, [&] { read_all(*open(dir.write("data", content))); });
  };
  refuses("", {"data", "header"});
  refuses("a,b\n1,2\n", {"data:1", "a column 'y'", "a, b"});
  refuses("x;y\n1,5;0\n", {"data:1", "a column 'y'", "separated by commas", "found 'x;y'"});
  refuses("y,x,y\n1,2,3\n", {"data:1", "every column once", "found 'y' as columns 1 and 3"});
  refuses("x,a,y,\"x\"\n1,2,3,4\n", {"data:1", "found 'x' as columns 1 and 4"});
  refuses(",x,y\n0,2,3\n", {"data:1", "a name for every column", "none for column 1", "--drop ''"});
  refuses("y\n1\n", {"data:1", "column of features"});
  refuses("x,y\n1,2\n1\n", {"data:3", "expected 2 fields separated by commas", "found 1"});
  refuses("x,y\n1,2\n\n1,2,3\n", {"data:4", "found 3"});
  refuses("x,y\n1,a\n,a\n", {"data:3", "column 'x'", "''"});
  refuses("x,y\n1,a\n1.2.3,a\n", {"data:3", "'1.2.3'"});
  refuses("x,y\nnan,a\n", {"data:2", "finite number"});
  refuses("x,y\n1e39,a\n", {"data:2", "finite number"});
  refuses("x,y\n1,\n", {"data:2", "a label"});
  refuses("x,y\n1,NaN\n", {"data:2", "a finite number or a word as label", "'NaN'"});
  refuses("x,y\n1,a\n\"1,a\n2,a\n", {"data:3", "closing quote", "end of the file"});
  refuses("x,y\n\"1\"2,a\n", {"data:2", "comma after a quoted field"});
  expect_error(ExitCode::bad_data, {"data:2", "as label, found 'a'"},
               [&] { open(dir.write("data", "x,y\n1,a\n"), "y", "", Task::regression); });
  expect_error(ExitCode::bad_data, {"data:3", "client's name"},
               [&] { open(dir.write("data", "x,y,c\n1,1,a\n1,1,\n"), "y", "c"); });
}

TEST(Csv, NamesColumnsAndClassesOrTarget) {
  const TemporaryDirectory dir;
  const std::string path = dir.write("data", "age,y, \"pressure, mm\" ,site\n1,0,2,A\n3,1.0,4,B\n");
  const auto classes = open(path, "y", "site");
  EXPECT_EQ(classes->schema().columns, (std::vector<std::string>{"age", "pressure, mm"}));
  EXPECT_EQ(classes->schema().label_names, (std::vector<std::string>{"0", "1"}));
  const auto target = open(path, "y", "site", Task::regression);
  EXPECT_EQ(target->schema().columns, classes->schema().columns);
  EXPECT_EQ(target->schema().label_names, std::vector<std::string>{"y"});
}

TEST(Csv, LeavesOutTheColumnsThatAreDropped) {
  const TemporaryDirectory dir;
  const std::string path = dir.write("data", ",id,x,y,,id\n0,p1,5,a,,u\n1,p2,6,b,?,v\n");
  const Input input = open_csv(path, path, {"y", "", {}, {"", "id"}});
  for (const auto* source : {&input.train, &input.test}) {
    EXPECT_EQ((*source)->schema().columns, std::vector<std::string>{"x"});
    const auto rows = read_all(**source);
    EXPECT_EQ(rows[1], (test::Row{{6}, 1, {}, 0}));
  }
  expect_error(ExitCode::bad_data, {"data:1", "a column 'z'"}, [&] { open_csv(path, "", {"y", "", {}, {"", "z"}}); });
  expect_error(ExitCode::usage, {"--drop", "'y'", "labels"}, [&] { open_csv(path, "", {"y", "", {}, {"", "y"}}); });
  expect_error(ExitCode::usage, {"--drop", "'id'", "clients"}, [&] {
    open_csv(path, "", {"y", "id", {}, {"", "id"}});
  });
}

TEST(Csv, ReadsLineBreaksInQuotes) {
  const TemporaryDirectory dir;
  const std::string text = "\"a\nb\",note,y\n1,\"one\r\n\r\n\"\"two\"\"\",\"p\nq\"\r\n2,\"\n\",r\n";  // 8 lines
  const auto source = open(dir.write("data", text), "y", "note");
  EXPECT_EQ(source->schema().columns, std::vector<std::string>{"a\nb"});
  EXPECT_EQ(source->schema().label_names, (std::vector<std::string>{"p\nq", "r"}));
  EXPECT_EQ(source->client_names(), (std::vector<std::string>{"one\n\n\"two\"", "\n"}));
  const std::vector<test::Row> expected = {{{1}, 0, {}, 0}, {{2}, 1, {}, 1}};
  EXPECT_EQ(read_all(*source), expected);
  EXPECT_EQ(read_all(*source), expected);
  // An example is found by the line that it begins in.
  expect_error(ExitCode::bad_data, {"data:9", "found 2"},
               [&] { open(dir.write("data", text + "3,4\n"), "y", "note"); });
  expect_error(ExitCode::bad_data, {"data:9", "found 2"},
               [&] { open(dir.write("data", text + "3,\"\n\n4\"\n"), "y", "note"); });
  expect_error(ExitCode::bad_data, {"data:2", "column 'x'", "found '1 2'"},
               [&] { read_all(*open(dir.write("data", "x,y\n\"1\n2\",a\n"))); });
}

TEST(Csv, RefusesNumbersMixedWithWordsAsLabels) {
  const TemporaryDirectory dir;
  const auto refuses = [&](const std::string& labels, const std::vector<std::string>& parts) {
    std::string text = "x,y\n";
    for (const std::string_view label : split(labels, ' ')) text += "0," + std::string(label) + "\n";
    const std::string path = dir.write("data", text);
    expect_error(ExitCode::bad_data, parts, [&] { open(path); });
    return path;
  };
  const std::string path =
      refuses("0.1 NA 0.7", {"data:3", "all numbers or all words", "'NA' here and '0.1' in line 2"});
  EXPECT_EQ(open(path, "y", "", Task::classification)->schema().label_names,
            (std::vector<std::string>{"0.1", "0.7", "NA"}));
  refuses("0 1 0 1 no", {"data:6", "found 'no' here and '0' in line 2"});
  refuses("NA 1 2", {"data:3", "found '1' here and 'NA' in line 2"});
  refuses("cat dog 3", {"data:4", "found '3' here and 'cat' in line 2"});
  for (const std::size_t numbers : {99U, 100U, 101U, 5000U}) {
    std::string labels;
    for (std::size_t i = 0; i < numbers; ++i) labels += std::to_string(i) + " ";
    refuses(labels + "NA 7", {fmt::format("data:{}", numbers + 2), "number", "found 'NA'"});
  }
}

}  // namespace
}  // namespace fedmpi::data
