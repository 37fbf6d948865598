#include "data/import/text.hpp"

#include "fixtures.hpp"

namespace fedmpi::data {
namespace {

using test::expect_error;
using test::TemporaryDirectory;

std::vector<std::string> lines_of(const std::string& path) {
  LineReader reader(path);
  std::vector<std::string> lines;
  for (std::string_view line; reader.next(line);) lines.emplace_back(line);
  return lines;
}

TEST(LineReader, TakesEveryKindOfLineEnding) {
  const TemporaryDirectory dir;
  const std::vector<std::string> expected = {"a", "b c", "d"};
  EXPECT_EQ(lines_of(dir.write("unix", "a\nb c\nd\n")), expected);
  EXPECT_EQ(lines_of(dir.write("dos", "a\r\nb c\r\nd\r\n")), expected);
  EXPECT_EQ(lines_of(dir.write("no_end", "a\nb c\nd")), expected);
  EXPECT_EQ(lines_of(dir.write("blank", "\na\n\n  \t\r\nb c\n\n\nd\n\n")), expected);
  EXPECT_EQ(lines_of(dir.write_gz("zipped", "a\nb c\nd\n")), expected);
  EXPECT_TRUE(lines_of(dir.write("empty", "")).empty());
}

TEST(LineReader, CountsBlankLinesToo) {
  const TemporaryDirectory dir;
  LineReader reader(dir.write("text", "a\n\n\nb\n"));
  std::string_view line;
  reader.next(line);
  reader.next(line);
  expect_error(ExitCode::bad_data, {"text:4: expected x, found y"}, [&] { reader.refuse("x", "y"); });
}

TEST(LineReader, ExtendsALineByTheNextOne) {
  const TemporaryDirectory dir;
  LineReader reader(dir.write("text",
                              "\xEF\xBB\xBF"
                              "a\r\n\r\nb\n\nc"));
  std::string_view line;
  ASSERT_TRUE(reader.next(line));
  ASSERT_TRUE(reader.extend(line));
  EXPECT_EQ(line, "a\n");
  ASSERT_TRUE(reader.extend(line));
  EXPECT_EQ(line, "a\n\nb");
  expect_error(ExitCode::bad_data, {"text:1: expected x, found y"}, [&] { reader.refuse("x", "y"); });
  ASSERT_TRUE(reader.next(line));
  EXPECT_EQ(line, "c");
  EXPECT_EQ(reader.number(), 5U);
  EXPECT_FALSE(reader.extend(line));
  EXPECT_FALSE(reader.next(line));
}

TEST(LineReader, JoinsLinesLongerThanItsBufferAndReadsAgain) {
  const TemporaryDirectory dir;
  const std::string first(300'000, 'x'), second(700'001, 'y');
  LineReader reader(dir.write_gz("text", first + "\n" + second));
  for (int pass = 0; pass < 2; ++pass) {
    std::string_view line;
    ASSERT_TRUE(reader.next(line));
    EXPECT_EQ(line, first);
    ASSERT_TRUE(reader.next(line));
    EXPECT_EQ(line, second);
    EXPECT_FALSE(reader.next(line));
    reader.rewind();
  }
}

TEST(LineReader, RefusesWhatIsNoText) {
  const TemporaryDirectory dir;
  expect_error(ExitCode::bad_data, {":2:", "NUL"}, [&] { lines_of(dir.write("nul", std::string("a\nb\0c\n", 6))); });
  expect_error(ExitCode::bad_data, {":1:", "64 MiB"},
               [&] { lines_of(dir.write_gz("bomb", std::string((64U << 20) + 10, 'x'))); });
  expect_error(ExitCode::bad_data, {"nowhere", "readable file"}, [&] { lines_of(dir / "nowhere"); });
  expect_error(ExitCode::bad_data, {"cannot read"}, [&] { lines_of(dir.path()); });
}

TEST(LineReader, NoticesDamagedGzip) {
  const TemporaryDirectory dir;
  std::string text;
  for (int i = 0; i < 10'000; ++i) text += std::to_string(i * 7919) + "\n";
  const std::string whole = dir.write_gz("whole", text);
  const std::size_t size = std::filesystem::file_size(whole);
  for (const std::size_t bytes : {size - 1, size - 8, size / 2, std::size_t{20}})
    expect_error(ExitCode::bad_data, {"cut off"}, [&] { lines_of(dir.write_cut("cut", whole, bytes)); });
  std::fstream file(whole, std::ios::in | std::ios::out | std::ios::binary);
  file.seekp(static_cast<std::streamoff>(size - 6)).put('\x55');  // in the checksum
  file.close();
  expect_error(ExitCode::bad_data, {"damage"}, [&] { lines_of(whole); });
}

TEST(ParseNumber, TakesTheWholeTextOrNothing) {
  EXPECT_EQ(parse_number("1.5e3"), 1500.0);
  EXPECT_EQ(parse_number("+1"), 1.0);
  EXPECT_EQ(parse_number("-0.25"), -0.25);
  for (const char* bad : {"", "1x", " 1", "1 ", "+", "+-1", "++1", "nan", "inf", "-inf", "1e999", "0x10", "1,5"})
    EXPECT_FALSE(parse_number(bad)) << bad;
}

TEST(ParseFloat, KeepsToTheRangeOfFloat32) {
  EXPECT_EQ(parse_float("3.4e38"), 3.4e38F);
  EXPECT_EQ(parse_float("1e-60"), 0.0F);
  EXPECT_FALSE(parse_float("3.5e38"));
  EXPECT_FALSE(parse_float("-1e39"));
}

TEST(ParseCount, TakesDigitsAlone) {
  EXPECT_EQ(parse_count("42"), 42U);
  EXPECT_EQ(parse_count("18446744073709551615"), UINT64_MAX);
  for (const char* bad : {"", "-1", "1.0", "18446744073709551616", "1 "}) EXPECT_FALSE(parse_count(bad)) << bad;
}

TEST(Split, KeepsEmptyParts) {
  EXPECT_EQ(split("a,,b", ','), (std::vector<std::string_view>{"a", "", "b"}));
  EXPECT_EQ(split("", ','), (std::vector<std::string_view>{""}));
}

}  // namespace
}  // namespace fedmpi::data
