// What went wrong, in one sentence for the user, and the exit code that belongs to it.
#pragma once

#include <fmt/format.h>

#include <exception>
#include <stdexcept>
#include <string>

namespace fedmpi {

// Exit codes of the program, the same on all ranks.
enum class ExitCode : int {
  done = 0,
  usage = 2,           // options that are unknown, malformed or cannot work together
  bad_data = 65,       // an input file that is damaged, hostile or does not fit the others
  bug = 70,            // an error of this program
  cannot_create = 73,  // an output that cannot be created
  io = 74,             // reading or writing failed half way
  stopped = 75,        // stopped early; --run.resume auto goes on from the last checkpoint
};

// An error of this process alone. Where several ranks work together, mpi::collectively() turns it into the
// same error on all of them.
class Error : public std::runtime_error {
 public:
  Error(ExitCode code, const std::string& message) : std::runtime_error(message), code_(code) {}
  ExitCode code() const { return code_; }

 private:
  ExitCode code_;
};

// What any exception means to the user: itself if it is an Error; want of memory, and what the system refuses
// (std::system_error, to which those of std::filesystem belong), are Error(io), and anything else is a bug.
Error explained(const std::exception& thrown);

// Throws Error(code) with a message formatted by fmt.
template <class... Args>
[[noreturn]] void fail(ExitCode code, fmt::format_string<Args...> format, Args&&... args) {
  throw Error(code, fmt::format(format, std::forward<Args>(args)...));
}

}  // namespace fedmpi
