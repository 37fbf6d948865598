// What a failing call must say.
#pragma once

#include <gtest/gtest.h>

#include <string>
#include <vector>

#include "base/error.hpp"

namespace fedmpi::test {

// Runs `action`, which must throw an Error of that code whose message has every one of `parts`.
template <class Action>
void expect_error(ExitCode code, const std::vector<std::string>& parts, Action&& action) {
  try {
    action();
  } catch (const Error& e) {
    EXPECT_EQ(e.code(), code) << e.what();
    for (const std::string& part : parts)
      EXPECT_NE(std::string(e.what()).find(part), std::string::npos) << "no '" << part << "' in: " << e.what();
    return;
  }
  ADD_FAILURE() << "expected an error, found none";
}

}  // namespace fedmpi::test
