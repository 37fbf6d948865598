#include "mpi/process.hpp"

#include <signal.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <fstream>
#include <sstream>
#include <string>

namespace fedmpi::mpi {

namespace {

// Field 22 of /proc/<number>/stat; 0 if there is no such process. The second field, a name in brackets, may hold
// blanks.
std::uint64_t start_of(std::int64_t number) {
  std::ifstream file("/proc/" + std::to_string(number) + "/stat");
  std::string line;
  std::getline(file, line);
  std::istringstream fields(line.substr(line.rfind(')') + 1));
  std::string skipped;
  for (int field = 3; field < 22; ++field) fields >> skipped;
  std::uint64_t started = 0;
  fields >> started;
  return started;
}

}  // namespace

Process Process::self() {
  Process me;
  std::string boot;
  std::ifstream("/proc/sys/kernel/random/boot_id") >> boot;
  std::copy_n(boot.begin(), std::min(boot.size(), me.boot.size() - 1), me.boot.begin());
  struct stat space {};
  if (stat("/proc/self/ns/pid", &space) == 0) {
    me.device = space.st_dev;
    me.space = space.st_ino;
  }
  me.number = getpid();
  me.started = start_of(me.number);
  return me;
}

bool Process::counts_like(const Process& other) const {
  return boot[0] != '\0' && boot == other.boot && space != 0 && device == other.device && space == other.space;
}

bool kill_if_in_reach(const Process& process) {
  if (!process.counts_like(Process::self())) return false;
  const bool runs = process.number != getpid() && process.started != 0 && start_of(process.number) == process.started;
  if (runs) kill(static_cast<pid_t>(process.number), SIGKILL);
  return true;
}

}  // namespace fedmpi::mpi
