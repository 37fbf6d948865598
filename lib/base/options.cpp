#include "base/options.hpp"

#include <fmt/format.h>

#include <charconv>
#include <sstream>

#include "base/error.hpp"

namespace fedmpi {

namespace {

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

std::string trimmed(const std::string& text) {
  const auto begin = text.find_first_not_of(" \t\r"), end = text.find_last_not_of(" \t\r");
  return begin == std::string::npos ? "" : text.substr(begin, end - begin + 1);
}

bool parse_switch(const std::string& name, const std::string& text) {
  if (text == "on" || text == "true" || text == "yes" || text == "1") return true;
  if (text == "off" || text == "false" || text == "no" || text == "0") return false;
  fail(ExitCode::usage, "{}: expected on or off, found '{}'", name, text);
}

}  // namespace

void Option::set(const std::string& text) const {
  struct Setter {
    const std::string &name, &text;
    void operator()(std::string* v) const {
      // What an INI file cannot hold would be another value when the run goes on.
      if (text.find_first_of("#\n") != std::string::npos || text != trimmed(text))
        fail(ExitCode::usage, "{}: expected a text without '#', line breaks and blanks around it, found '{}'", name,
             text);
      *v = text;
    }
    void operator()(std::int64_t* v) const { *v = parse<std::int64_t>(name, text, "a whole number"); }
    void operator()(std::uint64_t* v) const { *v = parse<std::uint64_t>(name, text, "a whole number, 0 or more"); }
    void operator()(double* v) const { *v = parse<double>(name, text, "a number"); }
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
    std::string operator()(const bool* v) const { return *v ? "on" : "off"; }
    std::string operator()(const std::vector<std::size_t>* v) const { return fmt::format("{}", fmt::join(*v, ",")); }
  };
  return std::visit(Getter{}, target);
}

}  // namespace fedmpi
