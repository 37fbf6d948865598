#include "mpi/roll_call.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <vector>

#include "base/error.hpp"

namespace fedmpi::mpi {

namespace {

MPI_Request receive(int from, int tag, MPI_Comm comm) {
  MPI_Request request;
  MPI_Irecv(nullptr, 0, MPI_BYTE, from, tag, comm, &request);
  return request;
}

void give_up(MPI_Request& request) {
  MPI_Cancel(&request);
  MPI_Request_free(&request);
}

void send(int to, int tag, MPI_Comm comm) {
  MPI_Request request;
  MPI_Isend(nullptr, 0, MPI_BYTE, to, tag, comm, &request);
  MPI_Request_free(&request);
}

}  // namespace

RollCall::RollCall(const Communicator& comm, Times times) : comm_(comm.handle()), times_(times) {
  if (!comm_.is_root()) called_ = receive(0, kCall, comm_.handle());
}

RollCall::~RollCall() {
  if (called_ != MPI_REQUEST_NULL) give_up(called_);
}

void RollCall::meanwhile(Polling& waiting) {
  if (!comm_.is_root())
    answer();
  else if (waiting.seconds() > times_.deadline)
    call(waiting);
}

void RollCall::answer() {
  int called = 0;
  MPI_Test(&called_, &called, MPI_STATUS_IGNORE);
  if (called == 0) return;
  send(0, kHere, comm_.handle());
  called_ = receive(0, kCall, comm_.handle());
}

void RollCall::call(Polling& waiting) {
  std::vector<MPI_Request> answers;
  for (int r = 1; r < comm_.size(); ++r) {
    answers.push_back(receive(r, kHere, comm_.handle()));
    send(r, kCall, comm_.handle());
  }
  Polling polling;
  std::vector<int> silent;
  do {
    polling.pause();
    silent.clear();
    for (std::size_t i = 0; i < answers.size(); ++i) {
      int here = 0;
      MPI_Test(&answers[i], &here, MPI_STATUS_IGNORE);
      if (here == 0) silent.push_back(static_cast<int>(i) + 1);
    }
  } while (!silent.empty() && polling.seconds() < times_.answer);
  for (const int rank : silent) give_up(answers[static_cast<std::size_t>(rank) - 1]);
  if (!silent.empty())
    fail(ExitCode::stopped, "no answer from rank {} for {:g} s (federation.deadline)", fmt::join(silent, ", "),
         times_.deadline);
  waiting = {};
}

}  // namespace fedmpi::mpi
