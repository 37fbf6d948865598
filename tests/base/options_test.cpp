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
  EXPECT_EQ(parsed<std::optional<double>>("1e-3"), 1e-3);
  EXPECT_EQ(parsed<std::optional<double>>("auto"), std::nullopt);
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
  refuses(std::optional<double>{}, {"", "Auto", "fast"});
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

using Names = std::vector<std::string>;

struct Row {
  const char *name, *summary, *reads;
};
struct Plain {
  const char *name, *summary;
};

// A table "a.kind" whose choices read a.x, a.y and b.z, and options that are read always.
struct Table {
  std::string kind = "one", x, y, z, w;
  std::vector<Option> options() {
    return {{"a.kind",
             &kind,
             "",
             {},
             choices_of(std::vector<Row>{{"one", "", "x y"}, {"two", "", "y b.z"}, {"three", "", ""}})},
            {"a.x", &x, ""},
            {"a.y", &y, ""},
            {"b.x", &w, ""},
            {"b.z", &z, "", {}, choices_of(std::vector<Plain>{{"any", ""}})}};
  }
};

TEST(Choices, ReadWhatTheyName) {
  Table table;
  const std::vector<Option> options = table.options();
  const auto readers = [&](const char* name) { return readers_of(options, find_option(options, name)); };
  EXPECT_EQ(readers("a.x").by, &options[0]);
  EXPECT_EQ(readers("a.x").names, (Names{"one"}));
  EXPECT_EQ(readers("a.y").names, (Names{"one", "two"}));
  EXPECT_EQ(readers("b.z").names, (Names{"two"}));
  EXPECT_EQ(readers("b.x").by, nullptr) << "a key of another section";
  EXPECT_EQ(readers("a.kind").by, nullptr);
  const auto read = [&](const std::string& kind) {
    table.kind = kind;
    Names names;
    for (const Option& option : options)
      if (is_read(options, option)) names.push_back(option.name);
    return names;
  };
  EXPECT_EQ(read("one"), (Names{"a.kind", "a.x", "a.y", "b.x"}));
  EXPECT_EQ(read("two"), (Names{"a.kind", "a.y", "b.x", "b.z"}));
  EXPECT_EQ(read("three"), (Names{"a.kind", "b.x"}));
  EXPECT_EQ(read("four").size(), options.size());
}

// "NAME=VALUE at WHERE" of each setting.
Names settings(const std::string& text) {
  Names found;
  for (const Setting& s : read_ini(text, "f")) found.push_back(s.name + "=" + s.value + " at " + s.where);
  return found;
}

TEST(ReadIni, YieldsNamesValuesAndLines) {
  EXPECT_EQ(settings("a = 1\n\n[ client ]\r\n lr-decay=0.5 \r\n\tx = a = b\n[b]\nempty =\nlast = 2"),
            (Names{"a=1 at f:1: ", "client.lr-decay=0.5 at f:4: ", "client.x=a = b at f:5: ", "b.empty= at f:7: ",
                   "b.last=2 at f:8: "}));
  EXPECT_EQ(settings("\xEF\xBB\xBF[s]\nk = v\n"), (Names{"s.k=v at f:2: "}));
  EXPECT_TRUE(settings("").empty());
}

TEST(ReadIni, EndsALineAtAMarkAfterABlank) {
  EXPECT_EQ(settings("# a = 1\n  ; b = 2\n[s] # t\na = exp#2\nb = x;y # z\nc = softmax ; why\nd = #\n"),
            (Names{"s.a=exp#2 at f:4: ", "s.b=x;y at f:5: ", "s.c=softmax at f:6: ", "s.d= at f:7: "}));
}

TEST(ReadIni, NamesTheLineThatIsNone) {
  const auto refuses = [](const std::string& text, const std::vector<std::string>& parts) {
    test::expect_error(ExitCode::usage, parts, [&] { read_ini(text, "f"); });
  };
  refuses("[a]\n\nlr 0.1\n", {"f:3: ", "key = value", "'lr 0.1'"});
  refuses("[a\nlr = 0.1\n", {"f:1: ", "'[a'"});
  refuses("\n= 3\n", {"f:2: "});
  refuses("key # = 3\n", {"f:1: ", "'key'"});
  refuses("[a]\nb = 1\n[ a ]\nb = 2\n", {"f:4: ", "'a.b'", "twice"});
  refuses(std::string("a = 1\nb\0 = 2\n", 13), {"f:2: expected text, found a NUL byte"});
}

}  // namespace
}  // namespace fedmpi
