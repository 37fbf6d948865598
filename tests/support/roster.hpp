// Rosters without files.
#pragma once

#include <numeric>
#include <utility>
#include <vector>

#include "federation/roster.hpp"
#include "support/examples.hpp"

namespace fedmpi::test {

// What a single process hosts: clients of the given sizes, with random examples in memory.
inline federation::Roster roster_of(const data::Schema& schema, const std::vector<std::uint64_t>& sizes,
                                    std::uint64_t seed = 1) {
  federation::Roster roster;
  roster.schema = schema;
  roster.references = {{"memory", schema}};
  roster.files = {"memory"};
  roster.clients = sizes.size();
  roster.examples = std::accumulate(sizes.begin(), sizes.end(), std::uint64_t{0});
  roster.units = {{0, 0, roster.clients, roster.examples, 0}};
  roster.first_client = {0};
  roster.example_bytes = {schema.example_bytes()};
  for (const std::uint64_t size : sizes) roster.sizes.push_back(static_cast<std::uint32_t>(size));
  std::vector<data::Block> blocks;
  blocks.push_back(random_block(schema, sizes, seed));
  roster.mine = data::Dataset(std::move(blocks));
  roster.hosts = {{.participant = 0, .examples = roster.examples}};
  roster.spare = {UINT64_MAX};
  return roster;
}

}  // namespace fedmpi::test
