#include "base/environment.hpp"

#include <gtest/gtest.h>

#include <cstdlib>

#include "support/expect_error.hpp"

namespace fedmpi {
namespace {

TEST(EnvironmentNumber, IsAWholeNumberOrNone) {
  const auto number = [](const char* text) {
    setenv("FEDMPI_TEST_NUMBER", text, 1);
    return environment_number("FEDMPI_TEST_NUMBER");
  };
  EXPECT_EQ(number("12"), 12);
  EXPECT_EQ(number("-3"), -3);
  EXPECT_EQ(number(""), std::nullopt);
  for (const char* wrong : {"x", "1x", "1.5", " 1", "99999999999999999999"})
    test::expect_error(ExitCode::usage, {"FEDMPI_TEST_NUMBER", wrong}, [&] { number(wrong); });
  unsetenv("FEDMPI_TEST_NUMBER");
  EXPECT_EQ(environment_number("FEDMPI_TEST_NUMBER"), std::nullopt);
}

}  // namespace
}  // namespace fedmpi
