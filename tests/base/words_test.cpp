#include "base/words.hpp"

#include <gtest/gtest.h>

#include "support/expect_error.hpp"

namespace fedmpi {
namespace {

enum class Colour { red, green };

struct Leaf {
  std::string name;
  std::int32_t number = 0;
  void travel(auto& words) { words(name, number); }
  bool operator==(const Leaf&) const = default;
};

struct Tree {
  std::uint64_t id = 0;
  bool tall = false;
  Colour colour = Colour::red;
  std::string name;
  std::vector<std::uint32_t> rings;
  std::vector<std::string> birds;
  std::vector<Leaf> leaves;
  void travel(auto& words) { words(id, tall, colour, name, rings, birds, leaves); }
  bool operator==(const Tree&) const = default;
};

std::vector<Tree> forest() {
  return {
      {UINT64_MAX, true, Colour::green, "oak", {1, 2, 3}, {"", "jay", "12345678", "123456789"}, {{"a", -5}, {"", 7}}},
      {},
      {3, false, Colour::red, std::string("nul \0 and\nnew line", 18), {}, {}, {}}};
}

std::vector<std::uint64_t> words_of(std::vector<Tree> trees) {
  WordWriter writer;
  writer(trees);
  return writer.words;
}

TEST(Words, AreReadAsTheyWereWritten) {
  const std::vector<std::uint64_t> words = words_of(forest());
  WordReader reader(words);
  std::vector<Tree> found;
  reader(found);
  EXPECT_EQ(found, forest());
  EXPECT_TRUE(reader.at_end());
}

TEST(Words, OfSeveralWritersFollowOneAnother) {
  WordWriter first, second;
  std::uint64_t number = 7;
  std::string text = "seven";
  first(number);
  second(number, text);
  std::vector<std::uint64_t> words = first.words;
  words.insert(words.end(), second.words.begin(), second.words.end());
  WordReader reader(words);
  std::uint64_t one = 0, two = 0;
  std::string three;
  reader(one);
  EXPECT_FALSE(reader.at_end());
  reader(two, three);
  EXPECT_TRUE(reader.at_end());
  EXPECT_EQ(one + two, 14u);
  EXPECT_EQ(three, "seven");
}

// Wherever it is cut off, and whatever length is claimed, nothing is read past the end.
TEST(Words, ThatEndTooEarlyAreABug) {
  const std::vector<std::uint64_t> words = words_of(forest());
  for (std::size_t n = 0; n < words.size(); ++n)
    test::expect_error(ExitCode::bug, {"of a message"}, [&] {
      WordReader reader{std::span(words).first(n)};
      std::vector<Tree> found;
      reader(found);
    });
  for (const std::uint64_t claimed : {std::uint64_t{2}, UINT64_MAX / 8, UINT64_MAX}) {
    const std::vector<std::uint64_t> one = {claimed, 0};
    test::expect_error(ExitCode::bug, {"of a message"}, [&] {
      std::vector<std::uint64_t> list;
      WordReader{one}(list);
    });
    if (claimed > 8)
      test::expect_error(ExitCode::bug, {"of a message"}, [&] {
        std::string text;
        WordReader{one}(text);
      });
  }
}

}  // namespace
}  // namespace fedmpi
