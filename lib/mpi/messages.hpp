// What is more than a vector or a plain struct, from rank to rank: anything that base/words.hpp can write and read.
#pragma once

#include <cstdint>
#include <span>
#include <vector>

#include "base/words.hpp"
#include "mpi/communicator.hpp"

namespace fedmpi::mpi {

// From rank 0 to all.
template <class T>
void broadcast_words(Communicator& comm, T& value) {
  WordWriter writer;
  if (comm.is_root()) writer(value);
  std::uint64_t n = writer.words.size();
  comm.broadcast_struct(n);
  writer.words.resize(n);
  comm.broadcast(std::span(writer.words));
  if (!comm.is_root()) WordReader{writer.words}(value);
}

// Every rank's value, in order of rank, on rank 0; elsewhere nothing.
template <class T>
std::vector<T> gather_words(Communicator& comm, T& value) {
  WordWriter writer;
  writer(value);
  const std::vector<std::uint64_t> all = comm.gather(std::span<const std::uint64_t>(writer.words));
  std::vector<T> values;
  for (WordReader reader{all}; !reader.at_end();) reader(values.emplace_back());
  return values;
}

}  // namespace fedmpi::mpi
