#include "base/names.hpp"

#include <gtest/gtest.h>

#include <array>

#include "support/expect_error.hpp"

namespace fedmpi {
namespace {

struct Row {
  std::string_view name, summary;
  int value;
};
constexpr std::array<Row, 2> kTable = {{{"sgd", "a plain step", 1}, {"adam", "moments", 2}}};

TEST(Names, FindTheirRow) {
  EXPECT_EQ(find_by_name(kTable, "adam", "server.optimizer").value, 2);
  EXPECT_EQ(names_of(kTable), "sgd, adam");
}

TEST(Names, AnUnknownOneIsAnsweredWithTheKnown) {
  for (const char* unknown : {"adagrad", "", "Adam", "ad"})
    test::expect_error(ExitCode::usage, {"server.optimizer", fmt::format("'{}'", unknown), "sgd, adam"},
                       [&] { find_by_name(kTable, unknown, "server.optimizer"); });
}

}  // namespace
}  // namespace fedmpi
