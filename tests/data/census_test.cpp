#include "data/import/census.hpp"

#include "data/import/csv.hpp"
#include "fixtures.hpp"

namespace fedmpi::data {
namespace {

using test::expect_error;
using test::no_progress;

TEST(Census, NamesAnInputWithoutExamples) {
  const test::TemporaryDirectory dir;
  const Input input = open_csv(dir.write("data", "x,y\n"), "", {"y", "", {}, {}});
  expect_error(ExitCode::bad_data, {"csv:data: expected at least one example, found none"},
               [&] { take_census(*input.train, "csv:data", no_progress); });
}

}  // namespace
}  // namespace fedmpi::data
