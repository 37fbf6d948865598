// How much memory a process came to hold.
#pragma once

#include <fstream>
#include <string>

namespace fedmpi::bench {

// Largest resident size of this process so far, in bytes; what it shares with others counts in full.
inline double peak_resident() {
  std::ifstream status("/proc/self/status");
  for (std::string line; std::getline(status, line);)
    if (line.starts_with("VmHWM:")) return 1024 * std::stod(line.substr(6));
  return 0;
}

}  // namespace fedmpi::bench
