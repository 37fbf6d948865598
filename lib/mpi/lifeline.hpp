// Notices that a rank is gone: its process, its node or the way there. MPI waits for it for ever, and of the launchers
// not all see all of this. Every rank holds a TCP connection to rank 0. When a process dies its system closes the
// connection; when a node or the network does, the system at the other end finds out within seconds by keepalive
// probes. The systems answer these by themselves, so that a rank that computes for an hour, or is suspended, is not
// taken for dead. Only where that is asked for do the ranks themselves say that they go on.
#pragma once

#include <atomic>
#include <mutex>
#include <string>
#include <thread>
#include <vector>

#include "mpi/communicator.hpp"
#include "mpi/connections.hpp"

namespace fedmpi::mpi {

class Lifeline {
 public:
  struct Times {                // in seconds
    double grace = 2.0;         // for the launcher to end all ranks by itself, with the exit code of the one that died
    double speaks_every = 1.0;  // how often a rank says that it continues
    double shortest_patience = 5.0;  // the time in which it has to be heard, at least
  };

  // On all ranks together. A rank that cannot connect is named on stderr; nobody watches it. From then on the loss of a
  // rank ends rank 0, and the loss of rank 0 any other, with one sentence on stderr and ExitCode::stopped, unless the
  // launcher ends them within the grace. Only for a program whose process this is: see Session.
  explicit Lifeline(Communicator& comm) : Lifeline(comm, Times()) {}
  Lifeline(Communicator& comm, const Times& times);
  // Closes the connections: for the others this rank is lost now, unless it has taken leave.
  ~Lifeline();
  Lifeline(const Lifeline&) = delete;
  Lifeline& operator=(const Lifeline&) = delete;

  // Whether rank 0 ends with a rank that is lost, or was before; at first it does.
  void outlive_participants(bool outlive) { outlives_ = outlive; }
  std::vector<int> lost() const;  // on rank 0: the ranks that are
  // From now on a thread of this rank says again and again that it goes on, whatever the others do, and expects to hear
  // that of them: see below. A rank that has said nothing for so long, in seconds, though at least the shortest
  // patience, is taken to hang: that ends all ranks, with one sentence on stderr and ExitCode::stopped. Time in which
  // this process was suspended itself does not count. 0: no more. To be called by all at about the same time.
  void give_signs_of_life(double seconds);
  void expect_signs_of_life(bool expect) { expects_ = expect; }
  // A call of MPI has failed. If it was for a lost rank (Open MPI 5 with --with-ft ulfm notices by itself), this
  // process is ended as above within twice the grace.
  void await_the_end() const;
  // No rank needs this one any more: to be said when MPI is finalised, or is not going to be.
  void take_leave();
  // On rank 0: the others leave at once, with that exit code, wherever they are.
  void dismiss(int exit_code);

 private:
  struct State;  // of the thread

  void name_unwatched(int ranks) const;
  void watch();  // for as long as the thread lives
  void listen_to(std::size_t peer, State& state);
  void expect_all(const State& state) const;
  void tell(unsigned char what, int exit_code = 0) const;
  void say_why(const std::string& why, int leaving) const;  // on stderr; and the exit code for that rank

  const int rank_;
  const Times times_;
  std::vector<Connection> peers_;
  std::atomic<bool> outlives_ = false;
  mutable std::mutex mutex_;
  std::vector<const Connection*> lost_;  // under the mutex
  std::atomic<double> patience_ = 0.0;   // seconds; 0: nobody gives signs of life
  std::atomic<bool> expects_ = true;
  std::atomic<bool> leaves_ = false;
  int news_ = -1;  // an eventfd, on which the thread hears that it is to speak or to leave
  std::thread watcher_;
};

}  // namespace fedmpi::mpi
