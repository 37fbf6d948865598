// A table of options: each has a name "section.key", a help line and the variable it sets. The same table
// serves the command line, INI files, --help, the config.ini of a run and the comparison of two
// configurations.
#pragma once

#include <cstdint>
#include <string>
#include <variant>
#include <vector>

namespace fedmpi {

using OptionTarget =
    std::variant<std::string*, std::int64_t*, std::uint64_t*, double*, bool*, std::vector<std::size_t>*>;

struct Option {
  std::string name;  // "client.lr"
  OptionTarget target;
  std::string help;

  void set(const std::string& text) const;  // Error(usage): "client.lr: expected a number, found 'x'"
  std::string text() const;                 // the value as set() reads it
};

}  // namespace fedmpi
