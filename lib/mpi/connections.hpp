// A TCP connection between rank 0 and each of the others, beside MPI.
#pragma once

#include <sys/socket.h>

#include <cerrno>
#include <optional>
#include <string>
#include <vector>

#include "mpi/communicator.hpp"

namespace fedmpi::mpi {

struct Connection {
  int socket;  // to be closed by whoever has it; does not block
  int rank;    // of the other end
  std::string host;
};

// On all ranks together: on rank 0 the connections to all others that have reached it, in order of rank; on these the
// one to rank 0. A rank tries all of rank 0's IPv4 addresses for up to five seconds; rank 0 listens, on a free port,
// until all have tried, and has no more connections than leave it some files to open.
std::vector<Connection> connect_with_root(Communicator& comm);

// What the other end has said next, once all of it is there. `broken` if it never will be.
template <class T>
std::optional<T> received(int socket, bool& broken) {
  T message;
  const ssize_t n = recv(socket, &message, sizeof message, MSG_PEEK);
  broken = n == 0 || (n < 0 && errno != EAGAIN && errno != EINTR);
  if (n != sizeof message) return {};
  recv(socket, &message, sizeof message, 0);
  return message;
}

}  // namespace fedmpi::mpi
