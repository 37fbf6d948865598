// Loading a whole shard as a participant does, every value checked: the shard of bench/data.sh. And streaming one of
// 6,000 clients of 60 such images, as a round does whose clients are on file, beside a plain read of that file; cold
// means that the system has forgotten it and reads the disk.
#include <benchmark/benchmark.h>
#include <fcntl.h>
#include <unistd.h>

#include <array>
#include <cstdlib>
#include <filesystem>
#include <memory>
#include <string>
#include <vector>

#include "base/checksum.hpp"
#include "data/loader.hpp"
#include "data/prefetcher.hpp"
#include "data/shard.hpp"
#include "data/shard_writer.hpp"

namespace {

using namespace fedmpi;

void load(benchmark::State& state, const std::string& path) {
  std::int64_t bytes = 0;
  for (auto _ : state) {
    const auto shard = data::Shard::open(path);
    const data::Block block = shard->read_clients(0, shard->clients(), shard->schema().classes, false);
    benchmark::DoNotOptimize(block.bytes.data());
    bytes += static_cast<std::int64_t>(block.bytes.size() + block.labels.size() * sizeof(std::int32_t));
  }
  state.SetBytesProcessed(bytes);
}

// Images of 784 bytes that do not compress and cost little to make.
class Noise : public data::Source {
 public:
  explicit Noise(std::uint64_t images) : images_(images) {}
  const data::Schema& schema() const override { return schema_; }
  const std::vector<std::string>& client_names() const override { return names_; }
  void rewind() override { next_ = 0; }
  bool next(data::Example& example) override {
    if (next_ == images_) return false;
    for (std::uint64_t& word : image_) word = (state_ = state_ * 6364136223846793005u + 1442695040888963407u);
    example = {std::as_bytes(std::span(image_)), static_cast<std::int32_t>(next_++ % 10), {}, 0};
    return true;
  }

 private:
  data::Schema schema_ = {.classes = 10, .feature_shape = {28, 28}, .type = data::FeatureType::uint8};
  std::vector<std::string> names_;
  std::array<std::uint64_t, 98> image_{};
  std::uint64_t images_, next_ = 0, state_ = 1;
};

void write_large_shard(const std::string& path) {
  constexpr std::uint64_t kClients = 6000, kImages = 60;
  data::ShardFile file{path, {}};
  std::vector<std::uint32_t> owner;
  for (std::uint32_t c = 0; c < kClients; ++c) {
    file.clients.push_back(std::to_string(c));
    owner.insert(owner.end(), kImages, c);
  }
  Noise source(owner.size());
  data::ShardWriter writer(source.schema(), std::size_t{1} << 26, [](const char*, std::size_t, std::size_t) {});
  writer.write(source, owner, std::span(&file, 1));
  writer.commit();
}

// An open file which the system can be made to forget.
class Plain {
 public:
  explicit Plain(const std::string& path) : file_(open(path.c_str(), O_RDONLY)) { fsync(file_); }
  Plain(const Plain&) = delete;
  Plain& operator=(const Plain&) = delete;
  ~Plain() { close(file_); }
  void forget() const { posix_fadvise(file_, 0, 0, POSIX_FADV_DONTNEED); }
  // All of it, a mebibyte at a time, and its checksum, if asked for; returns its bytes.
  std::int64_t read_all(bool checked) {
    std::int64_t bytes = 0;
    std::uint64_t sum = 0;
    lseek(file_, 0, SEEK_SET);
    for (ssize_t n; (n = read(file_, buffer_.data(), buffer_.size())) > 0; bytes += n)
      if (checked) sum = checksum(std::span(buffer_).first(static_cast<std::size_t>(n)), sum);
    benchmark::DoNotOptimize(sum);
    return bytes;
  }

 private:
  int file_;
  std::vector<std::byte> buffer_ = std::vector<std::byte>(1 << 20);
};

// Times `pass`, cold or warm, after one such pass that is not timed.
template <class Pass>
void time_passes(benchmark::State& state, const Plain& file, bool cold, Pass pass) {
  const auto prepare = [&] {
    if (cold) file.forget();
  };
  prepare();
  std::int64_t bytes = pass();
  for (auto _ : state) {
    state.PauseTiming();
    prepare();
    state.ResumeTiming();
    bytes = pass();
  }
  state.SetBytesProcessed(state.iterations() * bytes);
}

void read_plainly(benchmark::State& state, const std::string& path, bool cold, bool checked) {
  Plain file(path);
  time_passes(state, file, cold, [&] { return file.read_all(checked); });
}

// All clients on file in their turn, in `stride` rounds over every stride-th one; an eighth of the shard may be held.
void stream(benchmark::State& state, const std::string& path, bool cold, std::size_t stride) {
  const auto shard = data::Shard::open(path);
  const std::size_t example = shard->schema().example_bytes(), count = shard->clients();
  const data::Part all{path, 0, count, shard->rows(), 0};
  const data::Dataset dataset =
      data::load(std::span(&all, 1), shard->schema(), false, {shard->rows() * example / 8, 1});
  std::vector<data::ClientExamples> clients;
  for (std::size_t first = 0; first < stride; ++first)
    for (std::size_t c = first; c < count; c += stride)
      if (const data::ClientExamples client = dataset.client(c); client.block->on_file) clients.push_back(client);
  time_passes(state, Plain(path), cold, [&] {
    std::size_t bytes = 0;
    dataset.prefetcher().start(clients);
    for (std::size_t i = 0; i < clients.size(); ++i) bytes += dataset.prefetcher().take(0, i).size * example;
    return static_cast<std::int64_t>(bytes);
  });
}

}  // namespace

int main(int argc, char** argv) {
  const char* folder = std::getenv("FEDMPI_BENCH_DATA");
  const std::string shard = std::string(folder != nullptr ? folder : "run/bench") + "/1000/shard-00000.h5";
  std::string directory = (std::filesystem::temp_directory_path() / "fedmpi-shard-XXXXXX").string();
  if (mkdtemp(directory.data()) == nullptr) return 74;
  const std::string large = directory + "/large.h5";
  const auto add = [&](const char* name, auto run) {
    const auto with_file = [&large, run](benchmark::State& state) {
      if (!std::filesystem::exists(large)) write_large_shard(large);
      run(state);
    };
    benchmark::RegisterBenchmark(name, with_file)->Unit(benchmark::kMillisecond)->UseRealTime();
  };
  benchmark::RegisterBenchmark("load", [&](benchmark::State& s) { load(s, shard); })->Unit(benchmark::kMillisecond);
  add("read/warm", [&](benchmark::State& s) { read_plainly(s, large, false, false); });
  add("read_checked/warm", [&](benchmark::State& s) { read_plainly(s, large, false, true); });
  add("stream/warm", [&](benchmark::State& s) { stream(s, large, false, 1); });
  add("stream_every_tenth/warm", [&](benchmark::State& s) { stream(s, large, false, 10); });
  add("read/cold", [&](benchmark::State& s) { read_plainly(s, large, true, false); });
  add("read_checked/cold", [&](benchmark::State& s) { read_plainly(s, large, true, true); });
  add("stream/cold", [&](benchmark::State& s) { stream(s, large, true, 1); });
  add("stream_every_tenth/cold", [&](benchmark::State& s) { stream(s, large, true, 10); });
  benchmark::Initialize(&argc, argv);
  benchmark::RunSpecifiedBenchmarks();
  std::filesystem::remove_all(directory);
}
