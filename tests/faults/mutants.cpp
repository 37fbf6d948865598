// Damaged and forged copies of small shards and checkpoints, each given to the real readers.
//
//   mutants damaged|hostile [COUNT [SEED]]    COUNT is 1,000, with FEDMPI_LONG set 50,000
//
// "damaged" are files as this program writes them, in the newest format with every dataset checksummed: a mutant has
// to be refused or to read the same. Files by other hands are compressed too: zeros over a chunk and its Fletcher32
// would pass for data without a note that only `fedmpi shard` leaves. "hostile" are files without such protection, and
// files whose checksums are made to fit the damage: these may read otherwise, but nothing may crash or hang.
#include <dlfcn.h>
#include <fmt/format.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

#include <array>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <filesystem>
#include <functional>
#include <map>

#include "base/digest.hpp"
#include "base/error.hpp"
#include "base/random.hpp"
#include "checkpoint/examples.hpp"
#include "data/shard.hpp"
#include "data/shard_writer.hpp"
#include "data/source.hpp"
#include "hdf5/file.hpp"
#include "support/temporary_directory.hpp"

namespace fedmpi {
namespace {

namespace fs = std::filesystem;

// What the reader makes of a file, as one value.
std::string contents_of_shard(const std::string& path) {
  const auto shard = data::Shard::open(path);
  const data::Schema& s = shard->schema();
  Digest d;
  d.add(fmt::format("{} {} {} {} {} {} {} {} {}", static_cast<int>(s.task), s.classes, s.targets,
                    fmt::join(s.feature_shape, ","), static_cast<int>(s.type), s.scale, s.offset,
                    fmt::join(s.columns, ","), fmt::join(s.label_names, ",")));
  d.add(std::span<const std::uint64_t>(shard->offsets()));
  for (std::size_t c = 0; c < shard->clients(); ++c) d.add(shard->client_name(c) + "\n");
  const data::Block b = shard->read_clients(0, shard->clients(), s.classes, false);
  d.add(std::span<const std::uint8_t>(b.bytes)).add(std::span<const float>(b.numbers));
  d.add(std::span<const std::int32_t>(b.labels)).add(std::span<const float>(b.targets));
  return d.hex();
}

std::string contents_of_checkpoint(const std::string& path) {
  return checkpoint::digest(checkpoint::snapshot_of(checkpoint::read(path)));
}

// Files to damage.

struct Storage {
  bool newest = true;      // format, and Fletcher32 on every dataset
  hsize_t chunk_rows = 0;  // 0 = contiguous
  bool deflate = false, unlimited = false;
};

template <class T>
void store(hid_t file, const char* name, std::vector<hsize_t> dims, const std::vector<T>& values, const Storage& how) {
  const hdf5::Handle plist(H5Pcreate(H5P_DATASET_CREATE), H5Pclose), links(H5Pcreate(H5P_LINK_CREATE), H5Pclose);
  H5Pset_create_intermediate_group(links.get(), 1);
  std::vector<hsize_t> chunk = dims, most = dims;
  if (how.chunk_rows > 0) {
    chunk[0] = std::min(dims[0], how.chunk_rows);
    H5Pset_chunk(plist.get(), static_cast<int>(chunk.size()), chunk.data());
    if (how.deflate) H5Pset_deflate(plist.get(), 6);
    if (how.newest) H5Pset_fletcher32(plist.get());
    if (how.unlimited) most[0] = H5S_UNLIMITED;
  }
  const hdf5::Handle space(H5Screate_simple(static_cast<int>(dims.size()), dims.data(), most.data()), H5Sclose);
  const hdf5::Handle dataset(
      H5Dcreate2(file, name, hdf5::native_type<T>(), space.get(), links.get(), plist.get(), H5P_DEFAULT), H5Dclose);
  if (H5Dwrite(dataset.get(), hdf5::native_type<T>(), H5S_ALL, H5S_ALL, H5P_DEFAULT, values.data()) < 0)
    fail(ExitCode::bug, "cannot write {}", name);
}

hdf5::Handle create(const std::string& path, bool newest) {
  const hdf5::Handle access(H5Pcreate(H5P_FILE_ACCESS), H5Pclose);
  if (newest) H5Pset_libver_bounds(access.get(), H5F_LIBVER_LATEST, H5F_LIBVER_LATEST);
  return {H5Fcreate(path.c_str(), H5F_ACC_TRUNC, H5P_DEFAULT, access.get()), H5Fclose};
}

constexpr std::size_t kRows = 60, kWidth = 5, kClients = 4;

std::vector<std::int32_t> some_labels(std::size_t n) {
  std::vector<std::int32_t> labels(n);
  for (std::size_t i = 0; i < n; ++i) labels[i] = static_cast<std::int32_t>(i * 7 % 3);
  return labels;
}

template <class T>
std::vector<T> some_numbers(std::size_t n) {
  std::vector<T> values(n);
  for (std::size_t i = 0; i < n; ++i) values[i] = static_cast<T>((i * 37 + 11) % 251);
  return values;
}

// A source of a few examples, for `fedmpi shard`'s own writer.
class FewExamples final : public data::Source {
 public:
  FewExamples() {
    schema_ = test::classification(kWidth, 3);
    schema_.type = data::FeatureType::uint8;
    schema_.scale = 0.5F;
    schema_.columns = {"age", "height", "weight", "pulse", "dose"};
    schema_.label_names = {"no", "yes", "maybe"};
  }
  const data::Schema& schema() const override { return schema_; }
  const std::vector<std::string>& client_names() const override { return no_clients_; }
  void rewind() override { row_ = 0; }
  bool next(data::Example& example) override {
    if (row_ == kRows) return false;
    example.features = std::as_bytes(std::span(features_).subspan(row_ * kWidth, kWidth));
    example.label = labels_[row_++];
    return true;
  }

 private:
  data::Schema schema_;
  std::vector<std::string> no_clients_;
  std::vector<std::uint8_t> features_ = some_numbers<std::uint8_t>(kRows * kWidth);
  std::vector<std::int32_t> labels_ = some_labels(kRows);
  std::size_t row_ = 0;
};

void write_shard(const std::string& path) {
  fs::remove(path);
  FewExamples source;
  std::vector<std::uint32_t> client(kRows);
  for (std::size_t i = 0; i < kRows; ++i) client[i] = static_cast<std::uint32_t>(i % 7 % kClients);
  data::ShardWriter writer(source.schema(), 1 << 20, [](const char*, std::size_t, std::size_t) {});
  const data::ShardFile file{path, {"anna", "bert", "carla", "dora"}};
  writer.write(source, client, std::span(&file, 1));
  writer.commit();
}

// By another program's hand: regression in many small chunks, with labels that are converted.
void write_foreign(const std::string& path, const Storage& how) {
  const hdf5::Handle handle = create(path, how.newest);
  store<float>(handle.get(), "/features", {kRows, kWidth}, some_numbers<float>(kRows * kWidth), how);
  store<double>(handle.get(), "/labels", {kRows, 2}, some_numbers<double>(kRows * 2), how);
  store<std::uint64_t>(handle.get(), "/clients/offsets", {3}, {0, 20, kRows}, how);
  const auto text = [&](const char* name, const char* value) {
    const hdf5::Handle type(H5Tcopy(H5T_C_S1), H5Tclose), space(H5Screate(H5S_SCALAR), H5Sclose);
    H5Tset_size(type.get(), std::strlen(value));
    const hdf5::Handle a(H5Acreate2(handle.get(), name, type.get(), space.get(), H5P_DEFAULT, H5P_DEFAULT), H5Aclose);
    H5Awrite(a.get(), type.get(), value);
  };
  text("format", "fedmpi-shard");
  text("task", "regression");
  const hdf5::Handle space(H5Screate(H5S_SCALAR), H5Sclose);
  const hdf5::Handle a(H5Acreate2(handle.get(), "version", H5T_NATIVE_UINT64, space.get(), H5P_DEFAULT, H5P_DEFAULT),
                       H5Aclose);
  const std::uint64_t version = 1;
  H5Awrite(a.get(), H5T_NATIVE_UINT64, &version);
}

void write_tff(const std::string& path, const Storage& how) {
  const hdf5::Handle handle = create(path, how.newest);
  for (std::size_t c = 0; c < 12; ++c) {  // more than a group holds in its header: an index of links
    store<float>(handle.get(), fmt::format("/examples/client-{:02}/pixels", c).c_str(), {6, 3, 2},
                 some_numbers<float>(36), how);
    store<std::int32_t>(handle.get(), fmt::format("/examples/client-{:02}/label", c).c_str(), {6}, some_labels(6), how);
  }
}

struct Original {
  std::string name;
  std::function<void(const std::string&)> write;
  std::function<std::string(const std::string&)> contents;
};

std::vector<Original> originals(bool hostile) {
  const auto checkpoint = [](const std::string& path) { checkpoint::write(checkpoint::example(), path); };
  const auto foreign = [](Storage how) { return [=](const std::string& path) { write_foreign(path, how); }; };
  const auto tff = [](Storage how) { return [=](const std::string& path) { write_tff(path, how); }; };
  std::vector<Original> files = {
      {"shard", write_shard, contents_of_shard},
      {"shard in chunks", foreign({.chunk_rows = 8, .deflate = true}), contents_of_shard},
      {"growing shard in chunks", foreign({.chunk_rows = 8, .deflate = true, .unlimited = true}), contents_of_shard},
      {"tff", tff({.chunk_rows = 4, .deflate = true}), contents_of_shard},
      {"checkpoint", checkpoint, contents_of_checkpoint},
  };
  if (!hostile) return files;
  files.push_back({"default format", foreign({.newest = false}), contents_of_shard});
  files.push_back(
      {"default format in chunks", foreign({.newest = false, .chunk_rows = 8, .deflate = true}), contents_of_shard});
  files.push_back({"tff, default format", tff({.newest = false}), contents_of_shard});
  return files;
}

// Damage.

// A stretch of the file that is followed by the library's checksum of it.
struct Sealed {
  std::size_t begin, end;
};
using Checksum = std::uint32_t (*)(const void*, std::size_t, std::uint32_t);

class Mutator {
 public:
  Mutator(std::string whole, bool hostile) : whole_(std::move(whole)) {
    // Not a documented function of the library, but there since 1.8.
    const auto checksum = reinterpret_cast<Checksum>(dlsym(RTLD_DEFAULT, "H5_checksum_metadata"));
    if (!hostile || checksum == nullptr) return;
    checksum_ = checksum;
    for (const char* signature : {"\x89HDF", "OHDR", "OCHK", "FRHP", "FHDB", "FHIB", "FAHD", "FADB", "EAHD", "EAIB",
                                  "EADB", "BTHD", "BTLF", "BTIN", "SMTB", "FSHD"})
      for (std::size_t at = whole_.find(signature); at != std::string::npos; at = whole_.find(signature, at + 1))
        for (std::size_t end = at + 8; end + 4 <= whole_.size() && end < at + 8192; ++end)
          if (seal(whole_, at, end) == whole_.substr(end, 4)) {
            sealed_.push_back({at, end});
            break;
          }
  }

  std::size_t sealed() const { return sealed_.size(); }

  // A function of the stream alone.
  std::string mutant(Stream draw) const {
    std::string m = whole_;
    if (!sealed_.empty() && draw.below(4) != 0) return forged(std::move(m), draw);
    switch (draw.below(6)) {
      case 0:
        m.resize(draw.below(m.size()));
        break;
      case 1: {  // a piece from elsewhere
        const std::size_t n = 1 + draw.below(std::min<std::size_t>(512, m.size())), from = draw.below(m.size() - n + 1);
        m.replace(draw.below(m.size() - n + 1), n, whole_, from, n);
        break;
      }
      case 2: {
        const std::size_t n = 1 + draw.below(draw.below(2) == 0 ? 64 : 1024), at = draw.below(m.size());
        const char value = static_cast<char>(draw.below(2) == 0 ? 0 : draw.below(256));
        for (std::size_t i = at; i < std::min(at + n, m.size()); ++i) m[i] = value;
        break;
      }
      default:
        damage(m, 0, m.size(), draw);
    }
    return m;
  }

 private:
  std::string seal(const std::string& bytes, std::size_t begin, std::size_t end) const {
    const std::uint32_t sum = checksum_(bytes.data() + begin, end - begin, 0);
    return {reinterpret_cast<const char*>(&sum), 4};
  }
  static void damage(std::string& m, std::size_t begin, std::size_t end, Stream& draw) {
    for (std::size_t n = 1 + draw.below(4); n > 0; --n) {
      char& byte = m[begin + draw.below(end - begin)];
      constexpr std::array<int, 6> kTelling = {0, 1, 2, 0x7F, 0x80, 0xFF};
      if (draw.below(2) == 0)
        byte = static_cast<char>(byte ^ (1 << draw.below(8)));
      else
        byte = static_cast<char>(draw.below(2) == 0 ? kTelling[draw.below(6)] : static_cast<int>(draw.below(256)));
    }
  }
  std::string forged(std::string m, Stream& draw) const {
    for (std::size_t n = 1 + draw.below(2); n > 0; --n) {
      const Sealed& s = sealed_[draw.below(sealed_.size())];
      damage(m, s.begin + 4, s.end, draw);
      m.replace(s.end, 4, seal(m, s.begin, s.end));
    }
    return m;
  }

  std::string whole_;
  Checksum checksum_ = nullptr;
  std::vector<Sealed> sealed_;
};

enum Outcome : std::size_t { kRefused, kSame, kOther, kOdd, kCrashed, kHung, kOutcomes };
constexpr std::array<const char*, kOutcomes> kNames = {"refused",   "the same", "other contents",
                                                       "odd error", "crashed",  "hung"};

// Shared with the child that reads.
struct Progress {
  std::uint64_t at = 0;
  std::array<std::uint64_t, kOutcomes> counts{};
  std::array<char, 256> first_odd{};
};

class Campaign {
 public:
  Campaign(std::string folder, std::uint64_t seed, bool hostile)
      : folder_(std::move(folder)), seed_(seed), hostile_(hostile) {}

  bool run(const Original& original, std::uint64_t count, std::uint64_t number) {
    const std::string path = folder_ + "/original.h5";
    original.write(path);
    const Mutator mutator(test::read_file(path), hostile_);
    const std::string expected = original.contents(path);
    auto* progress =
        new (mmap(nullptr, sizeof(Progress), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0)) Progress;
    constexpr std::uint64_t kBatch = 1000;  // per process: the library loses some memory in what it refuses
    while (progress->at < count) {
      const std::uint64_t end = std::min(count, progress->at + kBatch);
      const pid_t child = fork();
      if (child == 0) {
        for (; progress->at < end; ++progress->at) {
          alarm(60);
          const Outcome outcome =
              read(original, mutator, expected, Stream(seed_, Purpose::generate, number, progress->at), *progress);
          ++progress->counts[outcome];
          if (outcome == kOther || outcome == kOdd) keep(original, progress->at, kNames[outcome]);
        }
        _exit(0);
      }
      int status = 0;
      waitpid(child, &status, 0);
      if (WIFEXITED(status) && WEXITSTATUS(status) == 0) continue;
      const Outcome outcome = WIFSIGNALED(status) && WTERMSIG(status) == SIGALRM ? kHung : kCrashed;
      ++progress->counts[outcome];
      keep(original, progress->at++, kNames[outcome]);
    }
    std::string line = fmt::format("{:<26}{} mutants, {} seals:", original.name, count, mutator.sealed());
    for (std::size_t i = 0; i < kOutcomes; ++i) line += fmt::format(" {} {},", progress->counts[i], kNames[i]);
    line.back() = '\n';
    fmt::print("{}", line);
    if (progress->first_odd[0] != 0) fmt::print("  the first odd error: {}\n", progress->first_odd.data());
    const auto& n = progress->counts;
    // Who can forge the library's checksums can make another shard. A checkpoint has a digest of its contents.
    const bool may_differ = hostile_ && original.name != "checkpoint";
    return n[kRefused] > 0 && n[kOdd] + n[kCrashed] + n[kHung] == 0 && (may_differ || n[kOther] == 0);
  }

 private:
  Outcome read(const Original& original, const Mutator& mutator, const std::string& expected, const Stream& draw,
               Progress& progress) const {
    const std::string path = folder_ + "/mutant.h5";
    unlink(path.c_str());
    test::write_file(path, mutator.mutant(draw));
    try {
      return original.contents(path) == expected ? kSame : kOther;
    } catch (const Error& error) {
      if (error.code() == ExitCode::bad_data) return kRefused;
      std::snprintf(progress.first_odd.data(), progress.first_odd.size(), "%s", error.what());
    } catch (const std::exception& error) {
      std::snprintf(progress.first_odd.data(), progress.first_odd.size(), "%s", error.what());
    }
    return kOdd;
  }
  void keep(const Original& original, std::uint64_t at, const char* what) const {
    std::error_code ignored;
    fs::copy_file(folder_ + "/mutant.h5", fmt::format("{}/{} {} {}.h5", folder_, original.name, at, what), ignored);
  }

  std::string folder_;
  std::uint64_t seed_;
  bool hostile_;
};

}  // namespace
}  // namespace fedmpi

int main(int argc, char** argv) {
  using namespace fedmpi;
  const std::string kind = argc > 1 ? argv[1] : "";
  if (kind != "damaged" && kind != "hostile") return 2;
  const std::uint64_t count = argc > 2 ? std::stoull(argv[2]) : std::getenv("FEDMPI_LONG") != nullptr ? 50'000 : 1'000;
  const std::uint64_t seed = argc > 3 ? std::stoull(argv[3]) : 1;
  std::setvbuf(stdout, nullptr, _IOLBF, 0);
  std::string folder = (fs::temp_directory_path() / "fedmpi-test-XXXXXX").string();
  Campaign campaign(mkdtemp(folder.data()), seed, kind == "hostile");
  const std::vector<Original> files = originals(kind == "hostile");
  bool good = true;
  for (std::size_t i = 0; i < files.size(); ++i) good = campaign.run(files[i], count / files.size(), i) && good;
  if (good)
    fs::remove_all(folder);
  else
    fmt::print("the mutants in question are in {}\n", folder);
  return good ? 0 : 1;
}
