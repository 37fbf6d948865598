// Whether what a run is about to hold fits into the memory of its nodes.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "mpi/communicator.hpp"

namespace fedmpi::federation {

// What the nodes have left.
struct SpareMemory {
  std::vector<std::uint64_t> node;   // of each rank, counted from 0
  std::vector<std::uint64_t> bytes;  // of each node

  void travel(auto& words) { words(node, bytes); }
};

// Every rank is about to hold so many bytes more of `what`, and the ranks of a node share its memory: what is free on
// the node, and what is left of the job's part of it (SLURM_MEM_PER_NODE, or the limit of the ranks' control group).
// A CollectiveError(usage) names every node on which it does not fit. On all ranks together, which learn what is left
// after it.
SpareMemory check_memory(mpi::Communicator& comm, std::uint64_t bytes, const std::string& what);

// Bytes that are free on this node now; the largest number where the system does not say.
std::uint64_t free_memory();

// Bytes that this job may hold on this node, all its processes together; the largest number where nobody says.
std::uint64_t job_limit();

std::string bytes_text(std::uint64_t bytes);  // "1.5 MiB"

}  // namespace fedmpi::federation
