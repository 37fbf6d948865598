// The importers on the data sets that they were written for. FEDMPI_SHARED_DATA names the directory that has
// them.
#include <algorithm>
#include <cstdlib>

#include "data/import/sources.hpp"
#include "fixtures.hpp"

namespace fedmpi::data {
namespace {

class RealData : public testing::Test {
 protected:
  void SetUp() override {
    const char* directory = std::getenv("FEDMPI_SHARED_DATA");
    if (directory == nullptr) GTEST_SKIP() << "FEDMPI_SHARED_DATA does not name a directory with mnist/ and libsvm/";
    directory_ = directory;
  }
  Input open(const std::string& kind, const std::string& path, const std::string& test = "") const {
    SourceOptions options;
    if (!test.empty()) options.test = directory_ + "/" + test;
    return open_source(kind + ":" + directory_ + "/" + path, options);
  }

  std::string directory_;
};

std::vector<std::size_t> label_counts(Source& source) {
  const Census census = take_census(source, "data", test::no_progress);
  std::vector<std::size_t> counts(census.classes);
  for (const std::int32_t label : census.labels) ++counts[static_cast<std::size_t>(label)];
  return counts;
}

TEST_F(RealData, Mnist) {
  const Input input = open("idx", "mnist");
  EXPECT_EQ(input.train->schema().feature_shape, (std::vector<std::size_t>{28, 28}));
  EXPECT_EQ(label_counts(*input.train),
            (std::vector<std::size_t>{5923, 6742, 5958, 6131, 5842, 5421, 5918, 6265, 5851, 5949}));
  EXPECT_EQ(label_counts(*input.test),
            (std::vector<std::size_t>{980, 1135, 1032, 1010, 982, 892, 958, 1028, 974, 1009}));
  double sum = 0;
  Example example;
  for (input.train->rewind(); input.train->next(example);)
    for (const std::byte b : example.features) sum += std::to_integer<int>(b);
  EXPECT_NEAR(sum / 255 / (60'000.0 * 784), 0.1307, 1e-4);  // the well-known mean of its pixels
}

TEST_F(RealData, A9a) {
  const Input input = open("libsvm", "libsvm/a9a.gz", "libsvm/a9a.t.gz");
  EXPECT_EQ(input.train->schema().label_names, (std::vector<std::string>{"-1", "1"}));
  EXPECT_EQ(input.train->schema().feature_shape, std::vector<std::size_t>{123});
  EXPECT_EQ(label_counts(*input.train), (std::vector<std::size_t>{24'720, 7'841}));
  EXPECT_EQ(label_counts(*input.test), (std::vector<std::size_t>{12'435, 3'846}));
}

TEST_F(RealData, Mushrooms) {
  const Input input = open("libsvm", "libsvm/mushrooms.gz");
  EXPECT_EQ(input.train->schema().label_names, (std::vector<std::string>{"1", "2"}));
  EXPECT_EQ(input.train->schema().feature_shape, std::vector<std::size_t>{112});
  for (const test::Row& row : test::read_all(*input.train))
    ASSERT_EQ(std::count(row.features.begin(), row.features.end(), 1.0F),
              21);  // one value of each attribute but one
  EXPECT_EQ(take_census(*input.train, "data", test::no_progress).examples, 8124U);
}

}  // namespace
}  // namespace fedmpi::data
