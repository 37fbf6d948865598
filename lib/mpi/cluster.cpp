#include "mpi/cluster.hpp"

#include <utility>

#include "mpi/levels.hpp"
#include "mpi/star.hpp"

namespace fedmpi::mpi {

namespace {

// The ranks that share this one's memory.
std::unique_ptr<Communicator> ranks_here(const Communicator& comm) {
  MPI_Comm node;
  MPI_Comm_split_type(comm.handle(), MPI_COMM_TYPE_SHARED, comm.rank(), MPI_INFO_NULL, &node);
  auto made = std::make_unique<Communicator>(node);
  MPI_Comm_free(&node);
  return made;
}

}  // namespace

std::unique_ptr<Cluster> make_cluster(Communicator& comm, bool shared_memory, const Patience& patience) {
  const bool share = shared_memory && comm.size() > 1 && !patience.survive;
  return make_cluster(comm, share ? ranks_here(comm) : nullptr, patience);
}

std::unique_ptr<Cluster> make_cluster(Communicator& comm, std::unique_ptr<Communicator> node,
                                      const Patience& patience) {
  if (patience.survive && comm.size() > 1) return std::make_unique<Star>(comm, patience.deadline);
  return std::make_unique<Levels>(comm, std::move(node), patience);
}

}  // namespace fedmpi::mpi
