#include "data/schema.hpp"

#include <gtest/gtest.h>

#include "support/expect_error.hpp"

namespace fedmpi::data {
namespace {

using Strings = std::vector<std::string>;

Schema three_columns() {
  Schema s;
  s.classes = 2;
  s.feature_shape = {3};
  s.columns = {"age", "height", "weight"};
  s.label_names = {"no", "yes"};
  return s;
}

// What is said of a schema that was changed, both ways.
template <class Change>
Strings differences(Change change) {
  const Schema one = three_columns();
  Schema other = one;
  change(other);
  return {one.difference(other).value_or("none"), other.difference(one).value_or("none")};
}

TEST(Schema, DiffersInWhatItsNumbersMean) {
  EXPECT_EQ(differences([](Schema& s) { std::swap(s.columns[0], s.columns[2]); }),
            (Strings{"column 0 is called 'age' and there 'weight'", "column 0 is called 'weight' and there 'age'"}));
  EXPECT_EQ(differences([](Schema& s) { s.label_names[1] = "maybe"; }).front(),
            "class 1 is called 'yes' and there 'maybe'");
  EXPECT_EQ(differences([](Schema& s) { s.feature_shape = {4}; }),
            (Strings{"3 features and there 4", "4 features and there 3"}));
  EXPECT_EQ(differences([](Schema& s) { s.classes = 3; }).front(), "2 classes and there 3");
  EXPECT_EQ(differences([](Schema& s) { s.task = Task::regression; }),
            (Strings{"classification and there regression", "regression and there classification"}));
}

TEST(Schema, DiffersInItsTargets) {
  Schema one = three_columns(), other;
  one.task = Task::regression;
  one.targets = 2;
  other = one;
  other.label_names = {"yes", "no"};
  EXPECT_EQ(one.difference(other), "target 0 is called 'no' and there 'yes'");
  other.label_names = {};
  EXPECT_EQ(one.difference(other), std::nullopt);
  other.targets = 3;
  EXPECT_EQ(one.difference(other), "2 regression targets and there 3");
}

TEST(Schema, DiffersInItsShapeWhereBothSayOne) {
  Schema one, other;
  one.feature_shape = {2, 3, 3};
  other.feature_shape = {3, 3, 2};
  EXPECT_EQ(one.difference(other), "examples of the shape [2 × 3 × 3] and there [3 × 3 × 2]");
  other.feature_shape = {18};
  EXPECT_EQ(one.difference(other), std::nullopt);
  other.feature_shape = {1, 2, 3, 3};
  EXPECT_EQ(one.difference(other), std::nullopt);
}

TEST(Schema, DoesNotDifferInWhatOneDoesNotSay) {
  const Strings none = {"none", "none"};
  EXPECT_EQ(differences([](Schema&) {}), none);
  EXPECT_EQ(differences([](Schema& s) { s.columns = {}; }), none);
  EXPECT_EQ(differences([](Schema& s) { s.label_names = {}; }), none);
  EXPECT_EQ(differences([](Schema& s) { s.classes = 0; }), none);
  EXPECT_EQ(differences([](Schema& s) { s.type = FeatureType::uint8, s.scale = 0.5F; }), none);
}

TEST(Schema, DoesNotCountMoreThanItCan) {
  Schema s;
  s.feature_shape = {std::size_t{1} << 32, std::size_t{1} << 31};
  test::expect_error(ExitCode::bad_data, {"feature_shape", "4294967296 × 2147483648"}, [&] { s.features(); });
}

}  // namespace
}  // namespace fedmpi::data
