// Which participant hosts which clients.
#pragma once

#include <cstdint>
#include <span>
#include <vector>

namespace fedmpi::data {

// A run of consecutive clients of one file.
struct Unit {
  std::uint64_t file = 0;          // index in the list of files
  std::uint64_t first_client = 0;  // within the file
  std::uint64_t clients = 0;
  std::uint64_t examples = 0;
  std::uint64_t participant = 0;  // 0 … participants-1
};

// Places the clients of all files. `sizes[f][c]` is the number of examples of client c of file f, the measure
// of its cost. With at least as many files as participants a file belongs to one participant alone; with
// fewer, the files are first cut between clients into pieces of nearly equal cost. Pieces go, largest first,
// to the participant that has least (Graham 1969: at most 4/3 of the best makespan). The result is ordered by
// client. A participant may stay without clients only when there are fewer clients than participants.
std::vector<Unit> place(const std::vector<std::vector<std::uint64_t>>& sizes, std::size_t participants);

}  // namespace fedmpi::data
