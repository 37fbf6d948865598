// Whether what a run is about to hold fits into the memory of its nodes.
#pragma once

#include <cstdint>
#include <string>

#include "mpi/communicator.hpp"

namespace fedmpi::federation {

// Every rank is about to hold so many bytes more of `what`, and the ranks of a node share its memory: what is free on
// the node, and what is left of the job's part of it (SLURM_MEM_PER_NODE, or the limit of the ranks' control group).
// A CollectiveError(usage) names every node on which it does not fit. On all ranks together.
void check_memory(mpi::Communicator& comm, std::uint64_t bytes, const std::string& what);

// Bytes that this job may hold on this node, all its processes together; the largest number where nobody says.
std::uint64_t job_limit();

std::string bytes_text(std::uint64_t bytes);  // "1.5 MiB"

}  // namespace fedmpi::federation
