#include "data/prefetcher.hpp"

#include <algorithm>

#include "base/error.hpp"

namespace fedmpi::data {

namespace {

constexpr std::size_t kOpenShards = 16;  // each costs about half a MiB in the library
constexpr std::size_t kCached = 4;       // clients before one that is held is brought near the processor
constexpr std::size_t kAnnounced = 64;   // clients that the system is asked for before they are read

void reserve(Block& block, const Schema& schema, std::size_t bytes) {
  const std::size_t rows = bytes / schema.example_bytes();
  if (schema.type == FeatureType::uint8)
    block.bytes.reserve(rows * schema.features());
  else
    block.numbers.reserve(rows * schema.features());
  if (schema.task == Task::classification)
    block.labels.reserve(rows);
  else
    block.targets.reserve(rows * schema.targets);
}

std::size_t run_of(const ClientExamples& client) { return client.id - client.block->first_client; }

std::size_t stored_rows(const ClientExamples& client) {
  const std::uint64_t* row = client.block->on_file->rows.data() + run_of(client);
  return row[1] - row[0];
}

}  // namespace

Prefetcher::Prefetcher(std::size_t workers, std::size_t places, std::size_t bytes)
    : bytes_(bytes), places_(places), in_use_(workers) {
  reader_ = std::jthread([this](const std::stop_token& stop) { read_ahead(stop); });
}

Prefetcher::~Prefetcher() = default;

void Prefetcher::start(std::span<const ClientExamples> clients) {
  clients_ = clients;
  if (places_.empty()) return;
  std::unique_lock lock(mutex_);
  next_ = on_file_.size();  // nothing more of the pass before
  ready_.wait(lock, [&] { return !reading_; });
  on_file_.clear();
  numbers_.clear();
  next_ = announced_ = 0;
  for (Place& place : places_) {
    place.state = State::free;
    place.failure = nullptr;
  }
  free_ = places_.size();
  std::fill(in_use_.begin(), in_use_.end(), nullptr);
  for (std::size_t i = 0; i < clients.size(); ++i) {
    if (!clients[i].block->on_file) continue;
    on_file_.push_back(clients[i]);
    numbers_.push_back(i);
  }
  wanted_.notify_one();
}

ClientExamples Prefetcher::take(std::size_t worker, std::size_t i) {
  const ClientExamples client = clients_[i];
  if (i + kCached < clients_.size()) clients_[i + kCached].block->prefetch(clients_[i + kCached].first);
  if (places_.empty()) return client;
  std::unique_lock lock(mutex_);
  if (Place*& before = in_use_.at(worker); before != nullptr) {
    if (--before->left == 0) {
      before->state = State::free;
      ++free_;
      if (may_read()) wanted_.notify_one();
    }
    before = nullptr;
  }
  if (!client.block->on_file) return client;
  const auto k = static_cast<std::size_t>(std::lower_bound(numbers_.begin(), numbers_.end(), i) - numbers_.begin());
  const auto here = [&] {
    return std::find_if(places_.begin(), places_.end(), [&](const Place& p) {
      return p.state == State::ready && p.first <= k && k < p.first + p.count;
    });
  };
  auto place = here();
  if (place == places_.end()) {
    ++waiting_;
    wanted_.notify_one();
    ready_.wait(lock, [&] { return (place = here()) != places_.end(); });
    --waiting_;
  }
  in_use_[worker] = &*place;
  if (place->failure) std::rethrow_exception(place->failure);
  return {client.id, &place->block, place->block.offsets[k - place->first], client.size};
}

// There is a client to read and room for it: for many of them, so that the reader is not woken for each, unless someone
// waits.
bool Prefetcher::may_read() const {
  return next_ < on_file_.size() && free_ > 0 && (waiting_ > 0 || 2 * free_ >= places_.size());
}

void Prefetcher::read_ahead(const std::stop_token& stop) {
  std::unique_lock lock(mutex_);
  // When it is stopped the wait still says whether there is something to read.
  while (wanted_.wait(lock, stop, [&] { return may_read(); }) && !stop.stop_requested()) {
    while (next_ < on_file_.size() && free_ > 0 && !stop.stop_requested()) {
      Place& place =
          *std::find_if(places_.begin(), places_.end(), [](const Place& p) { return p.state == State::free; });
      place.first = next_;
      next_ = group_end(next_);
      place.count = place.left = next_ - place.first;
      place.state = State::reading;
      --free_;
      reading_ = true;
      lock.unlock();
      try {
        announce(place.first + place.count);
        read(place.first, place.first + place.count, place.block);
      } catch (...) {
        place.failure = std::current_exception();  // for the worker that takes one of these clients
      }
      lock.lock();
      place.state = State::ready;
      reading_ = false;
      ready_.notify_all();
    }
  }
}

// The end of the clients from `first` on that are read at once.
std::size_t Prefetcher::group_end(std::size_t first) const {
  const std::size_t most = bytes_ / on_file_[first].block->schema.example_bytes();
  std::size_t rows = stored_rows(on_file_[first]), end = first + 1;
  for (; end < on_file_.size(); ++end) {
    const ClientExamples &last = on_file_[end - 1], &next = on_file_[end];
    rows += stored_rows(next);
    if (next.block != last.block || next.id != last.id + 1 || rows > most) break;
  }
  return end;
}

void Prefetcher::read(std::size_t first, std::size_t end, Block& block) {
  const Block& from = *on_file_[first].block;
  const std::size_t run = run_of(on_file_[first]);
  const auto rows = std::span(from.on_file->rows).subspan(run, end - first + 1);
  const Shard& file = shard(from.file);
  reserve(block, from.schema, bytes_);
  const auto refuse = [&](std::size_t begin, std::size_t behind) {
    fail(ExitCode::bad_data,
         "{}: rows {} to {}: expected the values that were there when the run began, found others: the file is damaged "
         "or has been changed",
         from.file, begin, behind - 1);
  };
  if (rows.back() > file.rows()) refuse(rows.front(), rows.back());
  file.read_again(rows, from.on_file->classes, from.on_file->skip_bad, block);
  for (std::size_t i = 0; i < end - first; ++i)
    if (block.checksum_of_run(i) != from.on_file->checksums[run + i]) refuse(rows[i], rows[i + 1]);
}

// Tells the system which clients will be read next, so that it fetches several at a time. Of a row of neighbours it
// fetches ahead by itself, and better.
void Prefetcher::announce(std::size_t from) {
  announced_ = std::max(announced_, from);
  while (announced_ < std::min(from + kAnnounced, on_file_.size())) {
    const ClientExamples& client = on_file_[announced_];
    const std::uint64_t* rows = client.block->on_file->rows.data() + run_of(client);
    const std::size_t end = group_end(announced_);
    const ClientExamples& before = on_file_[announced_ - 1];
    const Shard* file = opened(client.block->file);
    const bool there = file != nullptr && rows[end - announced_] <= file->rows();  // else read() will say so
    if (there && (client.block != before.block || client.id != before.id + 1))
      file->will_need(rows[0], rows[end - announced_] - rows[0]);
    announced_ = end;
  }
}

const Shard* Prefetcher::opened(const std::string& path) {
  const auto open = std::find_if(shards_.begin(), shards_.end(), [&](const auto& s) { return s->path() == path; });
  return open == shards_.end() ? nullptr : open->get();
}

const Shard& Prefetcher::shard(const std::string& path) {
  const auto open = std::find_if(shards_.begin(), shards_.end(), [&](const auto& s) { return s->path() == path; });
  if (open != shards_.end()) {
    shards_.splice(shards_.begin(), shards_, open);
  } else {
    shards_.push_front(Shard::open(path));
    if (shards_.size() > kOpenShards) shards_.pop_back();
  }
  return *shards_.front();
}

}  // namespace fedmpi::data
