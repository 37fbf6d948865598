#include "base/options.hpp"

#include <gtest/gtest.h>

#include "support/expect_error.hpp"

namespace fedmpi {
namespace {

template <class T>
T parsed(const std::string& text) {
  T value{};
  Option{"section.key", &value, ""}.set(text);
  return value;
}

TEST(Option, ReadsEachKindOfValue) {
  EXPECT_EQ(parsed<std::string>("a = b"), "a = b");
  EXPECT_EQ(parsed<std::int64_t>("-3"), -3);
  EXPECT_EQ(parsed<std::uint64_t>("18446744073709551615"), UINT64_MAX);
  EXPECT_EQ(parsed<double>("1e-3"), 1e-3);
  EXPECT_TRUE(parsed<bool>("on"));
  EXPECT_FALSE(parsed<bool>("false"));
  EXPECT_EQ(parsed<std::vector<std::size_t>>("200,100"), (std::vector<std::size_t>{200, 100}));
  EXPECT_TRUE(parsed<std::vector<std::size_t>>("").empty());
}

TEST(Option, RefusesWhatIsNotOne) {
  const auto refuses = [](auto value, const std::vector<std::string>& texts, const std::string& after = "") {
    for (const std::string& text : texts)
      test::expect_error(ExitCode::usage, {"section.key", "'" + text + "'" + after}, [&] {
        Option{"section.key", &value, ""}.set(text);
      });
  };
  refuses(std::int64_t{}, {"", "x", "1x", " 1", "1.5", "9223372036854775808x"});
  refuses(std::uint64_t{}, {"", "-1", "0x10"});
  refuses(double{}, {"", "fast", "0.1.2", "0,1"});
  refuses(std::int64_t{}, {"9223372036854775808", "-9223372036854775809"}, ", which is out of range");
  refuses(std::uint64_t{}, {"18446744073709551616"}, ", which is out of range");
  refuses(double{}, {"1e999"}, ", which is out of range");
  refuses(bool{}, {"", "maybe", "ON"});
  test::expect_error(ExitCode::usage, {"section.key", "'x'"}, [] { parsed<std::vector<std::size_t>>("200,x"); });
}

TEST(Option, WritesWhatItReads) {
  double rate = 0.1;
  bool on = true;
  std::vector<std::size_t> hidden = {200, 100};
  std::int64_t count = -3;
  EXPECT_EQ((Option{"a.b", &rate, ""}.text()), "0.1");
  EXPECT_EQ((Option{"a.b", &on, ""}.text()), "on");
  EXPECT_EQ((Option{"a.b", &hidden, ""}.text()), "200,100");
  EXPECT_EQ((Option{"a.b", &count, ""}.text()), "-3");
  for (const double value : {1.0 / 3, 1e-300, 5e-324, 123456789.0}) {
    rate = value;
    EXPECT_EQ(parsed<double>(Option{"a.b", &rate, ""}.text()), value);
  }
}

}  // namespace
}  // namespace fedmpi
