// Notices that a rank is gone: its process, its node or the way there. MPI waits for it for ever, and of the launchers
// not all see all of this. Every rank holds a TCP connection to rank 0, on which nothing is said until the end. When a
// process dies its system closes the connection; when a node or the network does, the system at the other end finds out
// within seconds by keepalive probes. The systems answer these by themselves, so that a rank that computes for an hour,
// or is suspended, is not taken for dead.
#pragma once

#include <atomic>
#include <mutex>
#include <thread>
#include <vector>

#include "mpi/communicator.hpp"
#include "mpi/connections.hpp"

namespace fedmpi::mpi {

class Lifeline {
 public:
  // On all ranks together. A rank that cannot connect is named on stderr; nobody watches it. From then on the loss of a
  // rank ends rank 0, and the loss of rank 0 any other, with one sentence on stderr and ExitCode::stopped, unless the
  // launcher ends them within two seconds.
  explicit Lifeline(Communicator& comm);
  // Closes the connections: for the others this rank is lost now, unless it has taken leave.
  ~Lifeline();
  Lifeline(const Lifeline&) = delete;
  Lifeline& operator=(const Lifeline&) = delete;

  // Whether rank 0 ends with a rank that is lost, or was before; at first it does.
  void outlive_participants(bool outlive) { outlives_ = outlive; }
  std::vector<int> lost() const;  // on rank 0: the ranks that are
  // A call of MPI has failed. If it was for a lost rank (Open MPI 5 with --with-ft ulfm notices by itself), this
  // process is ended as above within these four seconds.
  void await_the_end() const;
  // No rank needs this one any more: to be said when MPI is finalised, or is not going to be.
  void take_leave();
  // On rank 0: the others leave at once, with that exit code, wherever they are.
  void dismiss(int exit_code);

 private:
  void name_unwatched(int ranks) const;
  void watch();  // for as long as the thread lives
  void tell(unsigned char what) const;
  [[noreturn]] void end() const;

  const int rank_;
  std::vector<Connection> peers_;
  std::atomic<bool> outlives_ = false;
  mutable std::mutex mutex_;
  std::vector<const Connection*> lost_;  // under the mutex
  int stop_ = -1;                        // an eventfd
  std::thread watcher_;
};

}  // namespace fedmpi::mpi
