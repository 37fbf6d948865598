// Clients that are on file, brought into memory ahead of their turn.
#pragma once

#include <condition_variable>
#include <cstddef>
#include <exception>
#include <list>
#include <memory>
#include <mutex>
#include <span>
#include <string>
#include <thread>
#include <vector>

#include "data/dataset.hpp"
#include "data/shard.hpp"

namespace fedmpi::data {

// Some threads, the workers, go through a list of clients together; meanwhile a thread of this class reads the clients
// of the list that are on file, in its order, as far ahead as there are places, and those at once that are neighbours
// both in the list and in the file. Other threads may use HDF5 meanwhile: hdf5::Exclusive keeps them apart.
class Prefetcher {
 public:
  Prefetcher() = default;  // for clients that are all held
  // `places`, more than there are `workers`, of so many bytes, enough for any client.
  Prefetcher(std::size_t workers, std::size_t places, std::size_t bytes);
  Prefetcher(const Prefetcher&) = delete;
  Prefetcher& operator=(const Prefetcher&) = delete;
  ~Prefetcher();

  // Begins a pass over these clients and ends the one before, of which no client may be in use any more.
  void start(std::span<const ClientExamples> clients);
  // Client i of the list, which must still be there; in memory until the worker takes another. Each is taken once, in
  // ascending order as a ThreadPool shares them out. Waits until it is there. Error(bad_data) when it is no longer what
  // it was when the run began.
  ClientExamples take(std::size_t worker, std::size_t i);

  std::size_t place_bytes() const { return bytes_; }
  std::size_t memory() const { return places_.size() * bytes_; }  // bytes, at most

 private:
  enum class State { free, reading, ready };
  struct Place {
    Block block;
    State state = State::free;
    std::size_t first = 0, count = 0;  // clients of the reader's list
    std::size_t left = 0;              // of which so many have not been released
    std::exception_ptr failure;
  };
  void read_ahead(const std::stop_token& stop);
  bool may_read() const;
  std::size_t group_end(std::size_t first) const;
  void read(std::size_t first, std::size_t end, Block& block);
  void announce(std::size_t from);
  const Shard* opened(const std::string& path);
  const Shard& shard(const std::string& path);

  std::size_t bytes_ = 0;  // of a place
  std::mutex mutex_;
  std::condition_variable_any wanted_;  // the reader has something to do
  std::condition_variable ready_;       // a client is there, or the reader rests
  std::vector<Place> places_;
  std::vector<Place*> in_use_;  // by each worker
  std::span<const ClientExamples> clients_;
  std::vector<ClientExamples> on_file_;   // the reader's list, which changes only while it does not read
  std::vector<std::size_t> numbers_;      // of these clients in the list of all
  std::size_t next_ = 0, announced_ = 0;  // of the reader's list
  std::size_t free_ = 0, waiting_ = 0;    // places, workers
  bool reading_ = false;
  std::list<std::unique_ptr<Shard>> shards_;  // open, the last used first
  std::jthread reader_;                       // last, so that it is joined before anything it uses is gone
};

}  // namespace fedmpi::data
