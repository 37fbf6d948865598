#include "client/states.hpp"

#include <gtest/gtest.h>

#include <algorithm>

namespace fedmpi::client {
namespace {

Layout kept() {
  Layout layout;
  layout.add("", "control", {4});
  return layout;
}

void set(States& states, data::ClientId id, float value) { std::ranges::fill(states.next(id), value); }

TEST(States, AreZeroUntilARoundCounts) {
  States states(kept());
  EXPECT_EQ(states.of(7)[3], 0.0F);
  set(states, 7, 1.0F);
  EXPECT_EQ(states.of(7)[3], 0.0F);
  states.keep();
  EXPECT_EQ(states.of(7)[3], 1.0F);
  EXPECT_EQ(states.of(8)[3], 0.0F);
}

TEST(States, ForgetARoundThatDoesNotCount) {
  States states(kept());
  set(states, 1, 1.0F);
  states.keep();
  const StatesSum before = states.sum();
  set(states, 1, 2.0F);
  set(states, 2, 2.0F);
  states.forget();
  states.keep();
  EXPECT_EQ(states.sum(), before);
  EXPECT_EQ(states.of(1)[0], 1.0F);
}

TEST(States, ForgetOneClientAlone) {
  States states(kept());
  set(states, 1, 1.0F);
  set(states, 2, 2.0F);
  states.forget(1);
  states.keep();
  EXPECT_EQ(states.of(1)[0], 0.0F);
  EXPECT_EQ(states.of(2)[0], 2.0F);
  EXPECT_EQ(states.clients(0, 10), (std::vector<data::ClientId>{2}));
}

// Whoever hosts whom: the sums add up to the same.
TEST(States, HaveASumThatDoesNotDependOnTheirPlaces) {
  States all(kept()), some(kept()), others(kept());
  for (data::ClientId id = 0; id < 6; ++id) {
    set(all, id, static_cast<float>(id));
    set(id % 2 == 0 ? some : others, id, static_cast<float>(id));
  }
  for (States* states : {&all, &some, &others}) states->keep();
  EXPECT_EQ(all.sum().clients, 6u);
  EXPECT_EQ(all.sum().checksum, some.sum().checksum + others.sum().checksum);
  some.restore(0)[2] += 1.0F;
  EXPECT_NE(all.sum().checksum, some.sum().checksum + others.sum().checksum);
}

TEST(States, UseTheMemoryOfEarlierRoundsAgain) {
  States states(kept());
  for (int round = 0; round < 20; ++round) {
    set(states, 1, 1.0F);
    set(states, 2, 1.0F);
    states.keep();
  }
  EXPECT_LE(states.memory(), 5 * 4 * sizeof(float));
}

TEST(States, CostNothingWhereClientsKeepNothing) {
  States states{Layout()};
  EXPECT_TRUE(states.none());
  EXPECT_TRUE(states.next(3).empty());
  states.keep();
  EXPECT_EQ(states.sum(), StatesSum());
  EXPECT_EQ(states.memory(), 0u);
}

}  // namespace
}  // namespace fedmpi::client
