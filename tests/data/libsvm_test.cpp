#include "data/import/libsvm.hpp"

#include "fixtures.hpp"

namespace fedmpi::data {
namespace {

using test::expect_error;
using test::read_all;
using test::TemporaryDirectory;

std::unique_ptr<Source> open(const std::string& path, const LibsvmOptions& options = {}) {
  return open_libsvm(path, "", options).train;
}

TEST(Libsvm, ReadsSparseLinesAsDenseRows) {
  const TemporaryDirectory dir;
  const Input input = open_libsvm(
      dir.write_gz("data.gz", "+1 1:0.5 4:-2\r\n# all of this is comment\n\n-1 # nothing\n1\t2:1e1 \n"), "", {});
  EXPECT_EQ(input.train->schema().label_names, (std::vector<std::string>{"-1", "1"}));
  EXPECT_EQ(input.train->schema().feature_shape, std::vector<std::size_t>{4});
  const auto rows = read_all(*input.train);
  ASSERT_EQ(rows.size(), 3U);
  EXPECT_EQ(rows[0].features, (std::vector<float>{0.5, 0, 0, -2}));
  EXPECT_EQ(rows[1].features, (std::vector<float>{0, 0, 0, 0}));
  EXPECT_EQ(rows[2].features, (std::vector<float>{0, 10, 0, 0}));
  EXPECT_EQ(rows[0].label, 1);
  EXPECT_EQ(rows[1].label, 0);
  EXPECT_EQ(rows[2].label, 1);
  EXPECT_EQ(read_all(*input.train), rows);
}

TEST(Libsvm, MapsLabelsFromOneToClassesFromZero) {
  const TemporaryDirectory dir;
  const auto rows = read_all(*open(dir.write("data", "2 1:1\n1 1:1\n")));
  EXPECT_EQ(rows[0].label, 1);
  EXPECT_EQ(rows[1].label, 0);
}

TEST(Libsvm, ReadsTargets) {
  const TemporaryDirectory dir;
  const auto source = open(dir.write("data", "2.5 1:1\n1 1:1\n"));
  EXPECT_EQ(source->schema().task, Task::regression);
  EXPECT_EQ(read_all(*source)[0].target, std::vector<float>{2.5F});
}

TEST(Libsvm, TakesTheWidthThatIsAsked) {
  const TemporaryDirectory dir;
  const std::string path = dir.write("data", "1 1:1\n2 3:1\n");
  EXPECT_EQ(open(path, {.features = 5, .task = {}})->schema().feature_shape, std::vector<std::size_t>{5});
  expect_error(ExitCode::bad_data, {"data:2", "at most 2 features", "index 3"},
               [&] { read_all(*open(path, {.features = 2, .task = {}})); });
  expect_error(ExitCode::usage, {"--features"}, [&] { open(path, {.features = std::size_t{1} << 40, .task = {}}); });
}

TEST(Libsvm, GivesTestDataTheTrainingWidthAndLabels) {
  const TemporaryDirectory dir;
  const std::string train = dir.write("train", "+1 4:1\n-1 2:1\n");
  const auto rows = read_all(*open_libsvm(train, dir.write("test", "1 1:7\n"), {}).test);
  EXPECT_EQ(rows[0].features, (std::vector<float>{7, 0, 0, 0}));
  EXPECT_EQ(rows[0].label, 1);
  expect_error(ExitCode::bad_data, {"test:1", "index 5"},
               [&] { read_all(*open_libsvm(train, dir.write("test", "1 5:7\n"), {}).test); });
  expect_error(ExitCode::bad_data, {"test:1", "'3'"},
               [&] { read_all(*open_libsvm(train, dir.write("test", "3 1:7\n"), {}).test); });
}

TEST(Libsvm, NamesFileAndLineOfWhatItRefuses) {
  const TemporaryDirectory dir;
  const auto refuses = [&](const std::string& line, const std::string& part) {
    expect_error(ExitCode::bad_data, {"data:3", part}, [&] { read_all(*open(dir.write("data", "1 1:1\n\n" + line))); });
  };
  refuses("1 0:1", "an index from 1 to 16777216 (--zero-based takes indices from 0), found '0:1'");
  refuses("1 16777217:1", "an index from 1 to 16777216, found");
  refuses("1 99999999999999999999:1", "an index from 1 to 16777216, found");
  refuses("1 -1:1", "INDEX:VALUE");
  refuses("1 3", "INDEX:VALUE");
  refuses("1 :3", "INDEX:VALUE");
  refuses("1 1:1 qid:3", "INDEX:VALUE");
  refuses("1 qid:x 1:1", "qid:N");
  refuses("1 qid:3 1:1", "no qid, as in the lines before, found 'qid:3'");
  refuses("1:0.5 2:1", "one label before the first INDEX:VALUE, found '1:0.5'");
  refuses(" 1:0.5", "one label before");
  refuses("qid:3 1:1", "one label before");
  refuses("1,2 1:3", "one label before the first INDEX:VALUE, found '1,2'");
  refuses("NA 1:3", "found 'NA' here and '1' in line 1");
  refuses("1 3:", "a finite number");
  refuses("1 3:x", "a finite number");
  refuses("1 3:nan", "a finite number");
  refuses("1 3:1e40", "within the range of float32");
  refuses("1 3:1 3:1", "an index above 3");
  refuses("1 3:1 2:1", "an index above 3");
  refuses("nan 3:1", "as label, found 'nan'");
  expect_error(ExitCode::bad_data, {"examples with features"}, [&] { open(dir.write("data", "")); });
  expect_error(ExitCode::bad_data, {"examples with features"}, [&] { open(dir.write("data", "1\n2\n")); });
}

TEST(Libsvm, TakesQueriesForClients) {
  const TemporaryDirectory dir;
  const std::string train = dir.write("data", "2 qid:7 1:0.5\n1 qid:7 2:1\n0 qid:3 # nothing\n2 qid:7 2:3\n");
  const Input input = open_libsvm(train, dir.write("test", "1 qid:9 1:1\n0 2:1\n"), {});
  EXPECT_EQ(input.train->client_names(), (std::vector<std::string>{"7", "3"}));
  EXPECT_EQ(input.train->schema().feature_shape, std::vector<std::size_t>{2});
  const std::vector<test::Row> expected = {
      {{0.5, 0}, 2, {}, 0}, {{0, 1}, 1, {}, 0}, {{0, 0}, 0, {}, 1}, {{0, 3}, 2, {}, 0}};
  EXPECT_EQ(read_all(*input.train), expected);
  EXPECT_TRUE(input.test->client_names().empty());
  EXPECT_EQ(read_all(*input.test).size(), 2U);
  expect_error(ExitCode::bad_data, {"data:2", "qid:N after the label", "found none"},
               [&] { open(dir.write("data", "2 qid:7 1:0.5\n1 2:1\n")); });
}

TEST(Libsvm, TakesIndicesFromZeroWhenAsked) {
  const TemporaryDirectory dir;
  const std::string train = dir.write("train", "1 0:0.5 3:2\n0 1:1\n");
  const LibsvmOptions options{.task = {}, .zero_based = true};
  const Input input = open_libsvm(train, dir.write("test", "1 4:1\n"), options);
  EXPECT_EQ(read_all(*input.train)[0].features, (std::vector<float>{0.5, 0, 0, 2}));
  expect_error(ExitCode::bad_data, {"test:1", "at most 4 features", "index 4"}, [&] { read_all(*input.test); });
  const auto refuses = [&](const std::string& line, const std::string& part) {
    expect_error(ExitCode::bad_data, {"data:1", part}, [&] { open(dir.write("data", line), options); });
  };
  refuses("1 16777216:1", "an index from 0 to 16777215, found");
  refuses("1 0:1 0:1", "an index above 0");
}

}  // namespace
}  // namespace fedmpi::data
