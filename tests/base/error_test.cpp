#include "base/error.hpp"

#include <gtest/gtest.h>

#include <filesystem>
#include <new>

namespace fedmpi {
namespace {

template <class Work>
Error of(Work work) {
  try {
    work();
  } catch (const std::exception& thrown) {
    return explained(thrown);
  }
  return {ExitCode::done, "nothing thrown"};
}

TEST(Error, ExplainsWhatIsThrown) {
  EXPECT_EQ(of([] { fail(ExitCode::usage, "no {}", 1); }).code(), ExitCode::usage);
  EXPECT_STREQ(of([] { fail(ExitCode::usage, "no {}", 1); }).what(), "no 1");
  EXPECT_EQ(of([] { throw std::bad_alloc(); }).code(), ExitCode::io);
  EXPECT_EQ(of([] { std::filesystem::create_directory("/nowhere/at all"); }).code(), ExitCode::io);
  EXPECT_EQ(of([] { throw std::logic_error("odd"); }).code(), ExitCode::bug);
  EXPECT_STREQ(of([] { throw std::logic_error("odd"); }).what(), "a bug, please report it: odd");
}

}  // namespace
}  // namespace fedmpi
