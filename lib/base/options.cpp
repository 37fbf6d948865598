#include "base/options.hpp"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>
#include <charconv>
#include <sstream>

#include "base/error.hpp"

namespace fedmpi {

namespace {

constexpr std::string_view kBlanks = " \t\r", kCommentMarks = "#;";

template <class T>
T parse(const std::string& name, const std::string& text, const char* expected) {
  T value{};
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value);
  const bool whole = end == text.data() + text.size();
  if (error != std::errc{} || !whole)
    fail(ExitCode::usage, "{}: expected {}, found '{}'{}", name, expected, text,
         whole && error == std::errc::result_out_of_range ? ", which is out of range" : "");
  return value;
}

std::string trimmed(std::string_view text) {
  const auto begin = text.find_first_not_of(kBlanks), end = text.find_last_not_of(kBlanks);
  return begin == std::string_view::npos ? "" : std::string(text.substr(begin, end - begin + 1));
}

// The line before its comment.
std::string_view without_comment(std::string_view line) {
  for (std::size_t i = 0; (i = line.find_first_of(kCommentMarks, i)) != std::string_view::npos; ++i)
    if (i == 0 || kBlanks.find(line[i - 1]) != std::string_view::npos) return line.substr(0, i);
  return line;
}

bool parse_switch(const std::string& name, const std::string& text) {
  if (text == "on" || text == "true" || text == "yes" || text == "1") return true;
  if (text == "off" || text == "false" || text == "no" || text == "0") return false;
  fail(ExitCode::usage, "{}: expected on or off, found '{}'", name, text);
}

bool reads(const Option& by, const Choice& choice, const Option& option) {
  std::istringstream words(choice.reads);
  for (std::string word; words >> word;)
    if (word == option.name || by.section() + '.' + word == option.name) return true;
  return false;
}

}  // namespace

void Option::set(const std::string& text) const {
  struct Setter {
    const std::string &name, &text;
    void operator()(std::string* v) const {
      // What an INI file cannot hold would be another value when the run continues.
      if (text.find_first_of(std::string("\n\0", 2)) != std::string::npos || trimmed(without_comment(text)) != text)
        fail(ExitCode::usage,
             "{}: expected a text of one line, without blanks around it and without '#' or ';' at its start or after a "
             "blank, found '{}'",
             name, text);
      *v = text;
    }
    void operator()(std::int64_t* v) const { *v = parse<std::int64_t>(name, text, "a whole number"); }
    void operator()(std::uint64_t* v) const { *v = parse<std::uint64_t>(name, text, "a whole number, 0 or more"); }
    void operator()(double* v) const { *v = parse<double>(name, text, "a number"); }
    void operator()(std::optional<double>* v) const {
      *v = text == "auto" ? std::nullopt : std::optional(parse<double>(name, text, "auto or a number"));
    }
    void operator()(bool* v) const { *v = parse_switch(name, text); }
    void operator()(std::vector<std::size_t>* v) const {
      v->clear();
      std::istringstream items(text);
      for (std::string item; std::getline(items, item, ',');)
        v->push_back(parse<std::size_t>(name, item, "whole numbers separated by commas"));
    }
  };
  std::visit(Setter{name, text}, target);
}

std::string Option::text() const {
  struct Getter {
    std::string operator()(const std::string* v) const { return *v; }
    std::string operator()(const std::int64_t* v) const { return std::to_string(*v); }
    std::string operator()(const std::uint64_t* v) const { return std::to_string(*v); }
    std::string operator()(const double* v) const { return fmt::format("{}", *v); }  // shortest that reads back
    std::string operator()(const std::optional<double>* v) const { return *v ? fmt::format("{}", **v) : "auto"; }
    std::string operator()(const bool* v) const { return *v ? "on" : "off"; }
    std::string operator()(const std::vector<std::size_t>* v) const { return fmt::format("{}", fmt::join(*v, ",")); }
  };
  return std::visit(Getter{}, target);
}

const Option& find_option(const std::vector<Option>& options, std::string_view name, std::string_view where) {
  const auto found = std::find_if(options.begin(), options.end(), [&](const Option& o) { return o.name == name; });
  if (found != options.end()) return *found;
  // The known names of the section; without such a section, how names are made.
  const std::string_view section = name.substr(0, name.find('.') + 1);
  std::vector<std::string> known;
  for (const Option& o : options)
    if (!section.empty() && o.name.starts_with(section)) known.push_back(o.name);
  if (known.empty()) {
    for (const Option& o : options)
      if (known.empty() || known.back() != o.section()) known.push_back(o.section());
    fail(ExitCode::usage, "{}'{}' is not known; expected section.key, the sections are {}", where, name,
         fmt::join(known, ", "));
  }
  fail(ExitCode::usage, "{}'{}' is not known; known are {}", where, name, fmt::join(known, ", "));
}

Readers readers_of(const std::vector<Option>& options, const Option& option) {
  Readers readers;
  for (const Option& by : options)
    for (const Choice& choice : by.choices)
      if (reads(by, choice, option)) {
        readers.by = &by;
        readers.names.push_back(choice.name);
      }
  return readers;
}

bool is_read(const std::vector<Option>& options, const Option& option) {
  const Readers readers = readers_of(options, option);
  if (readers.by == nullptr) return true;
  for (const Choice& choice : readers.by->choices)
    if (choice.name == readers.by->text()) return reads(*readers.by, choice, option);
  return true;
}

std::vector<Setting> read_ini(const std::string& text, const std::string& file) {
  constexpr std::string_view kMark = "\xEF\xBB\xBF";  // of the byte order, which some editors write
  std::istringstream lines(text.substr(text.starts_with(kMark) ? kMark.size() : 0));
  std::vector<Setting> settings;
  std::string section;
  int number = 0;
  for (std::string line; std::getline(lines, line);) {
    const std::string where = fmt::format("{}:{}: ", file, ++number);
    if (line.find('\0') != std::string::npos) fail(ExitCode::usage, "{}expected text, found a NUL byte", where);
    const std::string content = trimmed(without_comment(line));
    if (content.empty()) continue;
    if (content.front() == '[' && content.back() == ']') {
      section = trimmed(std::string_view(content).substr(1, content.size() - 2)) + '.';
      continue;
    }
    const std::size_t equals = content.find('=');
    const std::string key = trimmed(content.substr(0, equals));
    if (equals == std::string::npos || key.empty())
      fail(ExitCode::usage, "{}expected [section], key = value or # comment, found '{}'", where, content);
    const std::string name = section + key;
    if (std::any_of(settings.begin(), settings.end(), [&](const Setting& s) { return s.name == name; }))
      fail(ExitCode::usage, "{}'{}' is set twice", where, name);
    settings.push_back({name, trimmed(content.substr(equals + 1)), where});
  }
  return settings;
}

}  // namespace fedmpi
