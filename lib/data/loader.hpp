// Reading the clients of a participant: all of them into memory, or as many as may be held.
#pragma once

#include <cstddef>
#include <span>
#include <string>

#include "data/dataset.hpp"

namespace fedmpi::data {

// Some consecutive clients of a shard.
struct Part {
  std::string file;
  std::size_t first_client = 0, clients = 0;  // as the file counts them
  std::size_t examples = 0;                   // of these clients, the bad ones too
  ClientId first_id = 0;
};

struct Budget {
  std::size_t bytes = 0;    // of examples held at a time; 0 = all of them
  std::size_t threads = 1;  // that each need a client at a time
};

// Every value is read and checked once, against the schema of the federation: see Shard::read; Error(bad_data) for a
// file that does not match it, since what is at that name here may be another file than elsewhere. Within the budget
// the first clients are held and the others are on file, with some memory for a Prefetcher; its Error(usage) says what
// the least is.
// The budget is for what is held already, `beside` them, too: of that as much is left on file as it takes.
Dataset load(std::span<const Part> parts, const Schema& schema, bool skip_bad, Budget budget,
             Dataset* beside = nullptr);

}  // namespace fedmpi::data
