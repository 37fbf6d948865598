// The parsers of this program under libFuzzer: whatever the bytes, a parser takes them or refuses them with an Error of
// the user's, and what it takes keeps its promises. FEDMPI_FUZZ names the parser; see run.sh.
#include <fmt/format.h>
#include <sys/mman.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cmath>
#include <cstdlib>
#include <cstring>
#include <string>

#include "base/error.hpp"
#include "base/magnitude.hpp"
#include "base/names.hpp"
#include "base/options.hpp"
#include "data/import/csv.hpp"
#include "data/import/idx.hpp"
#include "data/import/libsvm.hpp"
#include "data/import/sources.hpp"
#include "data/partition.hpp"
#include "federation/config.hpp"
#include "model/model.hpp"

namespace fedmpi {
namespace {

// A file in memory, with a name that can be opened; made once, since that takes longer than to parse it.
class MemoryFile {
 public:
  MemoryFile() : fd_(memfd_create("input", MFD_CLOEXEC)) {}
  MemoryFile(const MemoryFile&) = delete;
  ~MemoryFile() { close(fd_); }

  // Its name, once it holds that and nothing else.
  std::string holding(std::string_view content) const {
    const auto size = static_cast<ssize_t>(content.size());
    if (ftruncate(fd_, 0) != 0 || pwrite(fd_, content.data(), content.size(), 0) != size) std::abort();
    return fmt::format("/proc/self/fd/{}", fd_);
  }

 private:
  int fd_;
};

void require(bool holds, const char* promise) {
  if (holds) return;
  fmt::print(stderr, "broken: {}\n", promise);
  std::abort();
}

// Text up to the separator; `rest` is what follows.
std::string_view take(std::string_view& rest, char separator) {
  const std::size_t end = std::min(rest.find(separator), rest.size());
  const std::string_view part = rest.substr(0, end);
  rest.remove_prefix(std::min(end + 1, rest.size()));
  return part;
}

// The first examples, twice the same ones; fewer of wide ones, and of very wide ones the first features.
void read(data::Source& source, std::size_t most = 200) {
  const data::Schema& schema = source.schema();
  constexpr std::size_t kWide = 20'000;
  most = std::clamp<std::size_t>(kWide / schema.features(), 2, most);
  std::array<std::size_t, 2> examples{};
  for (std::size_t& n : examples) {
    data::Example e;
    for (source.rewind(); n < most && source.next(e); ++n) {
      require(e.features.size() == schema.row_bytes(), "every example has all features");
      if (schema.type == data::FeatureType::float32) {
        const auto* x = reinterpret_cast<const float*>(e.features.data());
        require(all_finite({x, std::min(kWide, schema.features())}), "features are finite");
      }
      if (schema.task == data::Task::classification) {
        require(e.label >= 0, "labels are 0 or more");
        require(schema.classes == 0 || static_cast<std::size_t>(e.label) < schema.classes, "labels are classes");
      } else {
        require(e.target.size() == schema.targets, "every example has all targets");
        for (const float v : e.target) require(std::isfinite(v), "targets are finite");
      }
      require(source.client_names().empty() ? e.client == 0 : e.client < source.client_names().size(),
              "examples are of clients with a name");
    }
  }
  require(examples[0] == examples[1], "a source can be read again");
}

const MemoryFile one, other;

void fuzz_idx(std::string_view input) {
  constexpr std::size_t kLabels = 24;
  const std::string labels = other.holding(input.substr(0, kLabels));
  read(*data::open_idx(one.holding(input.substr(std::min(kLabels, input.size()))), labels));
}

void fuzz_csv(std::string_view input) {
  const std::string_view label = take(input, '|'), client = take(input, '|'), test = take(input, '|');
  const std::string train = one.holding(input), test_file = test.empty() ? "" : other.holding(test);
  data::Input csv = data::open_csv(train, test_file, {std::string(label), std::string(client), {}, {}});
  read(*csv.train);
  if (csv.test != nullptr) read(*csv.test);
}

void fuzz_libsvm(std::string_view input) {
  const std::string_view test = take(input, '|');
  const std::string train = one.holding(input), test_file = test.empty() ? "" : other.holding(test);
  data::Input libsvm = data::open_libsvm(train, test_file, {});
  read(*libsvm.train);
  if (libsvm.test != nullptr) read(*libsvm.test);
}

// A configuration that is taken is written so that it reads back as itself.
void fuzz_ini(std::string_view input) {
  const federation::Config config = federation::Config::from_ini(std::string(input), "input.ini");
  const std::string written = config.ini();
  require(federation::Config::from_ini(written, "written.ini").ini() == written, "config.ini repeats the run");
  config.check();
}

// Whether it may ask for so much that to generate it takes longer than to parse it, and not for too much to be taken.
bool asks_for_much(std::string_view specification) {
  std::size_t digits = 0, most = 0;
  bool fraction = false;
  for (const char c : specification) {
    const bool digit = c >= '0' && c <= '9';
    fraction = c == '.' || (fraction && digit);
    digits = digit && !fraction && (c != '0' || digits > 0) ? digits + 1 : 0;
    most = std::max(most, digits);
  }
  return most >= 3 && most <= 7;
}

// Lines: a partition, a source, widths of layers.
void fuzz_specifications(std::string_view input) {
  const std::string partition(take(input, '\n')), source(take(input, '\n')), hidden(input);
  data::Census census;
  census.examples = 40;
  census.classes = 3;
  for (std::int32_t i = 0; i < 40; ++i) census.labels.push_back(i % 3);
  try {
    const data::Assignment a = data::assign(census, {}, {.partition = partition, .clients = 4, .seed = 1});
    std::array<std::size_t, 4> sizes{};
    for (const std::uint32_t c : a.client) ++sizes.at(c);
    for (const std::size_t size : sizes) require(size > 0, "every client gets an example");
  } catch (const Error& error) {
    require(error.code() == ExitCode::usage, "a bad partition is an error of usage");
  }
  if (source.starts_with("synthetic") || source.starts_with("linear")) try {
      if (!asks_for_much(source)) read(*data::open_source(source, {}).train, 10);
    } catch (const Error& error) {
      require(error.code() == ExitCode::usage, "a bad source is an error of usage");
    }
  federation::Config config;
  Option{"model.hidden", &config.model.hidden, ""}.set(hidden);
  for (const std::size_t width : config.model.hidden)
    if (width > 100) return;
  data::Schema schema;
  schema.classes = 3;
  schema.feature_shape = {2};
  require(model::make(config.model, schema)->layout().size() > 0, "a model has parameters");
}

struct Parser {
  std::string_view name;
  void (*fuzz)(std::string_view);
};
constexpr std::array<Parser, 5> kParsers = {{{"idx", fuzz_idx},
                                             {"csv", fuzz_csv},
                                             {"libsvm", fuzz_libsvm},
                                             {"ini", fuzz_ini},
                                             {"specifications", fuzz_specifications}}};

const Parser& chosen() {
  static const Parser& parser = []() -> const Parser& {
    const char* name = std::getenv("FEDMPI_FUZZ");
    return find_by_name(kParsers, name != nullptr ? name : "", "FEDMPI_FUZZ");
  }();
  return parser;
}

}  // namespace
}  // namespace fedmpi

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  using namespace fedmpi;
  try {
    chosen().fuzz({reinterpret_cast<const char*>(data), size});
  } catch (const Error& error) {
    require(error.code() == ExitCode::bad_data || error.code() == ExitCode::usage, error.what());
    require(std::string_view(error.what()).size() < 20'000, "an error is a sentence");
  }
  return 0;
}
