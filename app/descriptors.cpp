#include "descriptors.hpp"

#include <fcntl.h>
#include <unistd.h>

namespace fedmpi::app {

// The system gives the lowest number that is free, so each of them is filled before the next is looked at. Open for
// reading alone, they refuse what is written.
void fill_closed_descriptors() {
  for (int number = STDIN_FILENO; number <= STDERR_FILENO; ++number)
    if (fcntl(number, F_GETFD) < 0 && open("/dev/null", O_RDONLY) < 0) return;  // the system has no file to give
}

}  // namespace fedmpi::app
