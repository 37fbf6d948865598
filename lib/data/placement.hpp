// Which participant hosts which clients.
#pragma once

#include <cstdint>
#include <span>
#include <vector>

namespace fedmpi::data {

inline constexpr std::uint64_t kNobody = UINT64_MAX;

// A run of consecutive clients of one file.
struct Unit {
  std::uint64_t file = 0;          // index in the list of files
  std::uint64_t first_client = 0;  // within the file
  std::uint64_t clients = 0;
  std::uint64_t examples = 0;
  std::uint64_t participant = 0;  // 0 … participants-1, or kNobody

  void travel(auto& words) { words(file, first_client, clients, examples, participant); }
};

// A participant as one that takes clients.
struct Host {
  std::uint64_t participant = 0;
  std::uint64_t examples = 0;           // of its clients
  std::uint64_t bytes = 0;              // of them that it holds in memory
  std::uint64_t may_hold = UINT64_MAX;  // bytes at most; it leaves on file what is more
  std::uint64_t node = 0;               // whose memory it shares with other hosts

  void travel(auto& words) { words(participant, examples, bytes, may_hold, node); }
};

// Gives units, largest first, to the host that has fewest examples (Graham 1969: at most 4/3 of the best makespan), or
// the next one where that one's node has no memory left for it; to kNobody where none has. `bytes[i]` is the memory of
// units[i], and `spare` that of each node, of which it takes. A function of its arguments.
void hand_out(std::span<Unit* const> units, std::span<const std::uint64_t> bytes, std::span<Host> hosts,
              std::span<std::uint64_t> spare);

// Places the clients of all files. `sizes[f][c]` is the number of examples of client c of file f, the measure
// of its cost. With at least as many files as participants a file belongs to one participant alone; with
// fewer, the files are first cut between clients into pieces of nearly equal cost. They are handed out as above, with
// memory for all. The result is ordered by client. A participant may stay without clients only when there are fewer
// clients than participants.
std::vector<Unit> place(const std::vector<std::vector<std::uint64_t>>& sizes, std::size_t participants);

}  // namespace fedmpi::data
