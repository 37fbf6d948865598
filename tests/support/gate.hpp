// A point in a test of several ranks at which one stands until rank 0 lets it continue.
#pragma once

#include <mpi.h>

#include "mpi/communicator.hpp"

namespace fedmpi::test {

class Gate {
 public:
  void stand() const { PMPI_Recv(nullptr, 0, MPI_BYTE, 0, 0, comm_.handle(), MPI_STATUS_IGNORE); }
  void open(int rank) const { PMPI_Send(nullptr, 0, MPI_BYTE, rank, 0, comm_.handle()); }  // on rank 0

 private:
  mpi::Communicator comm_{MPI_COMM_WORLD};
};

}  // namespace fedmpi::test
