// A table of options: each has a name "section.key", the variable it sets and a help line. The same table serves the
// command line, INI files, --help, the config.ini of a run and the comparison of two configurations.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <variant>
#include <vector>

namespace fedmpi {

using OptionTarget = std::variant<std::string*, std::int64_t*, std::uint64_t*, double*, std::optional<double>*, bool*,
                                  std::vector<std::size_t>*>;

// Where one run may be told different values, each including those before it: in none of its jobs, in a job that
// continues it, on each rank of a job.
enum class MayDiffer { no, on_resume, per_rank };

// A value that an option may have.
struct Choice {
  std::string name, summary;
  std::string reads =
      {};  // the options that it reads and others may not, separated by blanks: keys of the same section
           // ("lr momentum"), or whole names
};

struct Option {
  std::string name;  // "client.lr"
  OptionTarget target;
  std::string help;
  MayDiffer may_differ = MayDiffer::no;
  std::vector<Choice> choices = {};  // all values that there are; empty = any

  void set(const std::string& text) const;  // Error(usage): "client.lr: expected a number, found 'x'"
  std::string text() const;                 // the value as set() reads it; "auto" for an optional that is not set
  std::string section() const { return name.substr(0, name.find('.')); }
  std::string key() const { return name.substr(name.find('.') + 1); }
};

// A table of rows {name, summary, …} as choices. Rows may have a member `reads`: see Choice.
template <class Table>
std::vector<Choice> choices_of(const Table& table) {
  std::vector<Choice> choices;
  for (const auto& row : table) {
    choices.push_back({row.name, row.summary});
    if constexpr (requires { row.reads; }) choices.back().reads = row.reads;
  }
  return choices;
}

// Error(usage), with `where` before it, that answers an unknown name with the known ones.
const Option& find_option(const std::vector<Option>& options, std::string_view name, std::string_view where = "");

// An option that some choice reads belongs to those that do, and to no other choice of the same option.
struct Readers {
  const Option* by = nullptr;      // the option whose choices read it; null: it is read in any case
  std::vector<std::string> names;  // the choices that do
};
Readers readers_of(const std::vector<Option>& options, const Option& option);
// With the choices made at present. An unknown choice is taken to read everything.
bool is_read(const std::vector<Option>& options, const Option& option);

// A line "key = value" of an INI text.
struct Setting {
  std::string name, value;  // "client.lr", "0.1"
  std::string where;        // "FILE:LINE: ", for messages
};
// The settings of a text, each name once. A '#' or ';' at the start of a line or after a blank begins a comment. Error(
// usage) with `file` and line.
std::vector<Setting> read_ini(const std::string& text, const std::string& file);

}  // namespace fedmpi
