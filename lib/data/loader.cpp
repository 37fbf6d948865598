#include "data/loader.hpp"

#include <algorithm>
#include <memory>

#include "base/error.hpp"
#include "data/prefetcher.hpp"
#include "data/shard.hpp"

namespace fedmpi::data {

namespace {

// Opens the shards of consecutive parts, each once.
class Opener {
 public:
  Opener(const Schema& schema, std::span<const Part> parts) : schema_(schema), parts_(parts) {}

  // One of the parts.
  const Shard& operator()(const Part& part) {
    if (!shard_ || shard_->path() != part.file) {
      shard_.reset();
      shard_ = Shard::open(part.file);
      if (const Part* next = &part + 1; next != parts_.data() + parts_.size()) Shard::open_soon(next->file);
    }
    Schema found = shard_->schema();
    if (shard_->classes_inferred()) found.classes = 0;
    if (const auto difference = found.difference(schema_))
      fail(ExitCode::bad_data, "{} does not fit the other shards: {}", part.file, *difference);
    const std::size_t clients = shard_->offsets().size() - 1, end = part.first_client + part.clients;
    if (end > clients)
      fail(ExitCode::bad_data, "{}: expected at least {} clients as before, found {}", part.file, end, clients);
    const std::size_t examples = shard_->offsets()[end] - shard_->offsets()[part.first_client];
    if (examples != part.examples)
      fail(ExitCode::bad_data, "{}: expected {} examples of its clients {} to {} as before, found {}", part.file,
           part.examples, part.first_client, end - 1, examples);
    return *shard_;
  }

 private:
  const Schema& schema_;
  std::span<const Part> parts_;
  std::unique_ptr<Shard> shard_;
};

// How many of the clients from `first` on, before `end`, have no more than `bytes` together.
std::size_t clients_within(const Shard& shard, std::size_t first, std::size_t end, std::size_t bytes) {
  const auto begin = shard.offsets().begin() + static_cast<std::ptrdiff_t>(first);
  const std::uint64_t most = *begin + bytes / shard.schema().example_bytes();
  return static_cast<std::size_t>(
             std::upper_bound(begin, shard.offsets().begin() + static_cast<std::ptrdiff_t>(end) + 1, most) - begin) -
         1;
}

// Reads and checks clients without holding more than `bytes` of them, or one client, at a time.
Block leave_on_file(const Shard& shard, std::size_t first, std::size_t end, std::size_t classes, bool skip_bad,
                    std::size_t bytes) {
  Block block;
  block.schema = shard.schema();
  block.file = shard.path();
  block.first_row = shard.offsets()[first];
  block.offsets = {0};
  block.offsets.reserve(end - first + 1);
  OnFile& on_file = block.on_file.emplace(OnFile{classes, skip_bad, {}, {}});
  on_file.rows.assign(shard.offsets().begin() + static_cast<std::ptrdiff_t>(first),
                      shard.offsets().begin() + static_cast<std::ptrdiff_t>(end) + 1);
  on_file.checksums.reserve(end - first);
  shard.probe_rows(on_file.rows.front(), on_file.rows.back() - on_file.rows.front());
  while (first < end) {
    const std::size_t clients = std::max<std::size_t>(1, clients_within(shard, first, end, bytes));
    const Block read = shard.read_clients(first, clients, classes, skip_bad);
    for (std::size_t run = 0; run < clients; ++run) {
      block.offsets.push_back(block.rows + read.offsets[run + 1]);
      on_file.checksums.push_back(read.checksum_of_run(run));
    }
    block.rows += read.rows;
    block.dropped += read.dropped;
    first += clients;
  }
  return block;
}

std::size_t largest_bytes(const Dataset& clients) {
  std::size_t largest = 0;
  for (const Block& b : clients.blocks())
    for (std::size_t run = 0; run < b.runs(); ++run)
      largest = std::max<std::size_t>(largest, (b.offsets[run + 1] - b.offsets[run]) * b.schema.example_bytes());
  return largest;
}

}  // namespace

Dataset load(std::span<const Part> parts, const Schema& schema, bool skip_bad, Budget budget, Dataset* beside) {
  Opener shard_of(schema, parts);
  std::size_t total = 0, largest = 0;
  for (const Part& part : budget.bytes > 0 ? parts : parts.first(0)) {
    const Shard& shard = shard_of(part);
    const std::size_t example = shard.schema().example_bytes(), end = part.first_client + part.clients;
    total += (shard.offsets()[end] - shard.offsets()[part.first_client]) * example;
    for (std::size_t c = part.first_client; c < end; ++c)
      largest = std::max(largest, (shard.offsets()[c + 1] - shard.offsets()[c]) * example);
  }
  std::size_t room = SIZE_MAX, ahead = 0;  // for clients that stay, and for those that come and go
  std::size_t here = beside != nullptr ? beside->held() : 0;
  const std::size_t reserved = beside != nullptr ? beside->prefetcher().memory() : 0;
  if (budget.bytes > 0 && here + reserved + total > budget.bytes) {
    if (beside != nullptr) largest = std::max(largest, largest_bytes(*beside));
    const std::size_t least = std::max((budget.threads + 1) * largest, reserved);
    while (here + least > budget.bytes && beside != nullptr && beside->leave_on_file(schema.classes, skip_bad))
      here = beside->held();
    if (here + least > budget.bytes)
      fail(ExitCode::usage,
           "data.memory: expected at least {} MiB, room for a client for each of {} threads and one more, found {}",
           ((here + least) >> 20) + 1, budget.threads, budget.bytes >> 20);
    ahead = std::max(least, std::min(budget.bytes / 4, budget.bytes - here));
    room = budget.bytes - here - ahead;
  }

  std::vector<Block> blocks;
  for (const Part& part : parts) {
    const Shard& shard = shard_of(part);
    const std::size_t end = part.first_client + part.clients;
    const std::size_t held = room == SIZE_MAX ? part.clients : clients_within(shard, part.first_client, end, room);
    const std::size_t middle = part.first_client + held;
    if (held > 0) {
      blocks.push_back(shard.read_clients(part.first_client, held, schema.classes, skip_bad));
      blocks.back().first_client = part.first_id;
      if (room != SIZE_MAX)
        room -= (shard.offsets()[middle] - shard.offsets()[part.first_client]) * shard.schema().example_bytes();
    }
    if (middle < end) {
      blocks.push_back(leave_on_file(shard, middle, end, schema.classes, skip_bad, ahead));
      blocks.back().first_client = part.first_id + held;
    }
  }
  if (room == SIZE_MAX) return Dataset(std::move(blocks));
  // Places of a mebibyte or more, since small reads are slow, but more of them than threads.
  constexpr std::size_t kPlaceBytes = std::size_t{1} << 20, kMostPlaces = 64;
  const std::size_t bytes = std::max(largest, std::min(kPlaceBytes, ahead / (budget.threads + 1)));
  const std::size_t places = std::min(ahead / bytes, std::max(kMostPlaces, budget.threads + 1));
  return {std::move(blocks), std::make_unique<Prefetcher>(budget.threads, places, bytes)};
}

}  // namespace fedmpi::data
