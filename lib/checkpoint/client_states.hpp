// What clients keep between rounds, stored by the participants that host them: below a directory, for the checkpoint of
// each round, clients-NNNNNN/ with a file for each run of clients. Files are found by client, so that other
// participants in any number can continue. They belong to the checkpoint of that round, which holds a checksum of all
// of them.
#pragma once

#include <cstdint>
#include <functional>
#include <span>
#include <string>

#include "client/states.hpp"

namespace fedmpi::checkpoint {

// Consecutive clients, first … end-1, that one participant hosts.
struct ClientRun {
  data::ClientId first = 0, end = 0;
};

// Writes a file for each run of which clients keep something; aside, synced and read back, as checkpoints are.
// Error(cannot_create) or Error(io).
void write_client_states(const client::States& states, std::span<const ClientRun> runs, const std::string& directory,
                         std::uint64_t round);
// Restores what the files of that round hold of the clients of `runs`. Error(bad_data) for a file that is damaged or of
// another layout. What is missing shows by the checksum.
void read_client_states(client::States& states, std::span<const ClientRun> runs, const std::string& directory,
                        std::uint64_t round);
// Removes the files of rounds that `unwanted` says, as far as it can.
void remove_client_states(const std::string& directory, const std::function<bool(std::uint64_t round)>& unwanted);

}  // namespace fedmpi::checkpoint
