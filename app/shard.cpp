// fedmpi shard: turns a data set into shards, and says who got what.
#include <fmt/format.h>
#include <unistd.h>

#include <algorithm>
#include <boost/program_options.hpp>
#include <chrono>
#include <cstdio>
#include <filesystem>
#include <sstream>

#include "base/environment.hpp"
#include "base/error.hpp"
#include "base/file_lock.hpp"
#include "base/plural.hpp"
#include "commands.hpp"
#include "data/import/census.hpp"
#include "data/import/sources.hpp"
#include "data/import/text.hpp"
#include "data/partition.hpp"
#include "data/shard_writer.hpp"
#include "federation/memory.hpp"
#include "progress.hpp"
#include "shard_report.hpp"

namespace fedmpi::app {

namespace {

namespace po = boost::program_options;
namespace fs = std::filesystem;

struct Options {
  std::string source, out, files, task, labels;
  data::SourceOptions input;
  data::PartitionOptions partition;
  std::size_t memory_mib = 0;
};

po::options_description visible_options(Options& o) {
  po::options_description visible("options");
  auto add = visible.add_options();
  add("help,h", "this text");
  add("out", po::value(&o.out)->value_name("DIR")->required(), "directory for the shards, made if it is missing");
  add("clients", po::value(&o.partition.clients)->value_name("N"), "number of clients to deal the examples to");
  add("partition", po::value(&o.partition.partition)->value_name("HOW"),
      "how to deal them: iid, dirichlet:A, labels:K or natural (default: natural where the input has "
      "clients, else iid)");
  add("skew", po::value(&o.partition.skew)->value_name("A")->default_value(0.0, "0"),
      "unequal sizes: the clients' proportions ~ Dirichlet(A), the smaller A the more unequal, up to 1000000; "
      "0 = equal");
  add("holdout", po::value(&o.partition.holdout)->value_name("F")->default_value(0.0, "0"),
      "fraction of the examples that become DIR/test.h5, one at least");
  add("files", po::value(&o.files)->value_name("one|client|N")->default_value("one"),
      "one file for all clients, one per client, or N files of consecutive clients");
  add("seed", po::value(&o.partition.seed)->value_name("S")->default_value(1), "of everything random");
  add("test", po::value(&o.input.test)->value_name("FILE"), "test data in a file of its own (csv, libsvm, tff)");
  add("label", po::value(&o.input.label)->value_name("COLUMN"), "column of the labels (csv)");
  add("client-column", po::value(&o.input.client_column)->value_name("NAME"), "column of natural clients (csv)");
  add("drop", po::value(&o.input.drop)->value_name("COLUMN")->composing(),
      "column to leave out, '' for those without a name (csv); may be given several times");
  add("task", po::value(&o.task)->value_name("T")->default_value("auto"),
      "auto, classification or regression (csv, libsvm)");
  add("features", po::value(&o.input.features)->value_name("N"), "number of features (libsvm; default: largest index)");
  add("zero-based", po::bool_switch(&o.input.zero_based), "indices begin at 0 (libsvm)");
  add("labels", po::value(&o.labels)->value_name("HOW")->default_value("keep"),
      "keep, or dense: classes without examples are left out, the others renumbered from 0 and named by their old "
      "numbers; text is renumbered in any case");
  add("memory", po::value(&o.memory_mib)->value_name("MIB"),
      "memory for rows, in MiB; what does not fit takes more passes over the input (default: half of the "
      "machine's, or of the job's)");
  return visible;
}

void print_help(const po::options_description& visible) {
  fmt::print(
      "usage: fedmpi shard SOURCE --out DIR [options]\n\nWrites DIR/shard-NNNNN.h5 and, where there is test "
      "data, "
      "DIR/test.h5.\n\nSOURCE is one of\n");
  for (const auto& kind : data::source_kinds()) fmt::print("  {:<15} {}\n", kind.usage, kind.summary);
  fmt::print("\n--partition is one of\n");
  for (const auto& kind : data::partition_kinds()) fmt::print("  {:<15} {}\n", kind.usage, kind.summary);
  std::ostringstream text;
  text << visible;
  fmt::print(
      "\n{}\nexamples:\n"
      "  fedmpi shard idx:mnist --out shards --clients 100 --partition labels:2\n"
      "  fedmpi shard csv:patients.csv.gz --label outcome --client-column hospital --holdout 0.2 --out "
      "shards\n"
      "  fedmpi shard libsvm:a9a --test a9a.t --out shards --clients 80 --skew 1 --files client\n"
      "  fedmpi shard synthetic:1,1 --out shards --holdout 0.1\n",
      text.str());
}

// The library would take -1 for the largest number there is.
void refuse_negative(const po::parsed_options& parsed) {
  for (const auto& option : parsed.options)
    for (const char* count : {"clients", "seed", "features", "memory"})
      if (option.string_key == count && !option.value.empty() && option.value[0].starts_with('-'))
        fail(ExitCode::usage, "--{}: expected 0 or more, found '{}'", count, option.value[0]);
}

// False when the user asked for help.
bool parse(int argc, char** argv, Options& o) {
  const po::options_description visible = visible_options(o);
  po::options_description all;
  all.add(visible).add_options()("source", po::value(&o.source));
  try {
    po::variables_map given;
    const po::parsed_options parsed =
        po::command_line_parser(argc, argv)
            .options(all)
            .style(po::command_line_style::unix_style & ~po::command_line_style::allow_guessing)
            .positional(po::positional_options_description().add("source", 1))
            .run();
    refuse_negative(parsed);
    po::store(parsed, given);
    if (given.contains("help")) {
      print_help(visible);
      return false;
    }
    po::notify(given);
  } catch (const po::error& e) {
    fail(ExitCode::usage, "shard: {} (fedmpi shard --help lists the options)", e.what());
  }
  if (o.memory_mib >> 40 != 0) fail(ExitCode::usage, "--memory: expected fewer than 2^40 MiB, found {}", o.memory_mib);
  if (o.source.empty()) fail(ExitCode::usage, "shard: expected a SOURCE such as idx:DIR, found none");
  if (o.task == "classification")
    o.input.task = data::Task::classification;
  else if (o.task == "regression")
    o.input.task = data::Task::regression;
  else if (o.task != "auto")
    fail(ExitCode::usage, "--task: expected auto, classification or regression, found '{}'", o.task);
  if (o.labels != "keep" && o.labels != "dense")
    fail(ExitCode::usage, "--labels: expected keep or dense, found '{}'", o.labels);
  o.input.dense_labels = o.labels == "dense";
  o.input.clients = o.partition.clients;
  o.input.seed = o.partition.seed;
  return true;
}

// A line on stderr that follows long work, from its third second on.
class ProgressLine {
 public:
  ~ProgressLine() {
    if (shown_) to_stderr(fmt::format("\r{:60}\r", ""));
  }
  void operator()(const char* what, std::size_t done, std::size_t total) {
    if (done % 1024 != 0) return;
    const auto now = Clock::now();
    if (now < next_) return;
    next_ = now + std::chrono::milliseconds(500);
    shown_ = true;
    if (total == 0)
      to_stderr(fmt::format("\r{} example {} …", what, done));
    else
      to_stderr(fmt::format("\r{} … {:3.0f} %", what, 100.0 * static_cast<double>(done) / static_cast<double>(total)));
  }

 private:
  using Clock = std::chrono::steady_clock;
  Clock::time_point next_ = Clock::now() + std::chrono::seconds(2);
  bool shown_ = false;
};

// A directory that holds shards of another run would mix two data sets into one.
void require_no_shards(const fs::path& out) {
  std::error_code absent;
  for (const fs::directory_entry& entry : fs::directory_iterator(out, absent)) {
    const std::string name = entry.path().filename().string();
    if ((name.starts_with("shard-") && name.ends_with(".h5")) || name == "test.h5" || name == "solution.csv")
      fail(ExitCode::cannot_create, "{}: already exists; remove it or choose another --out", entry.path().string());
  }
}

void create_directory(const fs::path& out) {
  if (out.empty()) fail(ExitCode::usage, "--out: expected a directory, found ''");
  std::error_code error;
  fs::create_directories(out, error);
  if (error) fail(ExitCode::cannot_create, "{}: cannot create the directory: {}", out.string(), error.message());
}

std::vector<std::uint64_t> sizes_of(const data::Assignment& assignment) {
  std::vector<std::uint64_t> sizes(assignment.clients() + 1);
  for (const std::uint32_t c : assignment.client) ++sizes[c];
  sizes.pop_back();  // what is held out
  return sizes;
}

std::vector<data::ShardFile> plan_files(const Options& o, const data::Assignment& assignment,
                                        std::span<const std::uint64_t> sizes) {
  std::size_t files = 1;
  if (o.files == "client")
    files = assignment.clients();
  else if (o.files != "one") {
    const std::optional<std::uint64_t> n = data::parse_count(o.files);
    if (!n) fail(ExitCode::usage, "--files: expected one, client or a number, found '{}'", o.files);
    files = *n;
  }
  const std::vector<std::size_t> counts = data::split_clients(sizes, files);
  // Names must sort as the clients do, however many there are.
  const std::size_t digits = std::max<std::size_t>(5, std::to_string(counts.size() - 1).size());
  std::vector<data::ShardFile> plan;
  auto name = assignment.names.begin();
  for (std::size_t f = 0; f < counts.size(); ++f) {
    const auto end = name + static_cast<std::ptrdiff_t>(counts[f]);
    plan.push_back(
        {(fs::path(o.out) / fmt::format("shard-{:0{}}.h5", f, digits)).string(), {name, end}, counts.size()});
    name = end;
  }
  return plan;
}

std::size_t memory_bytes(const Options& o) {
  if (o.memory_mib > 0) return o.memory_mib << 20;
  const std::uint64_t machine =
      static_cast<std::uint64_t>(sysconf(_SC_PHYS_PAGES)) * static_cast<std::uint64_t>(sysconf(_SC_PAGESIZE));
  return std::min(machine, federation::job_limit()) / 2;
}

}  // namespace

int shard(int argc, char** argv) {
  Options o;
  if (!parse(argc, argv, o)) return static_cast<int>(ExitCode::done);
  if (environment_number("OMPI_COMM_WORLD_SIZE").value_or(1) > 1)
    fail(ExitCode::usage, "shard: one process makes all shards: start it without mpirun");
  require_no_shards(o.out);
  data::Input input = data::open_source(o.source, o.input);
  if (input.test != nullptr && o.partition.holdout > 0)
    fail(ExitCode::usage, "--holdout: {} has test data of its own, so none is held out", o.source);

  ProgressLine line;
  const data::Progress progress = std::ref(line);
  const data::Census census = data::take_census(*input.train, o.source, progress);
  data::Schema schema = input.train->schema();
  schema.classes = std::max(schema.classes, census.classes);
  std::size_t test_examples = 0;
  if (input.test != nullptr) {
    const data::Census test = data::take_census(*input.test, "test data of " + o.source, progress);
    schema.classes = std::max(schema.classes, test.classes);
    test_examples = test.examples;
  }
  if (schema.task == data::Task::classification && schema.classes < 2)
    fail(ExitCode::bad_data, "{}: expected at least two classes, found one label alone", o.source);

  const data::Assignment assignment = data::assign(census, input.train->client_names(), o.partition);
  const std::vector<std::uint64_t> sizes = sizes_of(assignment);
  std::vector<data::ShardFile> files = plan_files(o, assignment, sizes);
  const std::size_t train_files = files.size();
  const data::ShardFile test_file{(fs::path(o.out) / "test.h5").string(), {"test"}};
  if (assignment.held_out > 0) files.push_back(test_file);

  create_directory(o.out);
  const FileLock lock((fs::path(o.out) / ".lock").string(), "--out");
  if (const std::string text = lock.note(); !text.empty()) Progress::note(text);
  require_no_shards(o.out);  // of one that held the lock until now
  data::ShardWriter writer(schema, memory_bytes(o), progress);
  writer.write(*input.train, assignment.client, files);
  if (input.test != nullptr)
    writer.write(*input.test, std::vector<std::uint32_t>(test_examples, 0), std::span(&test_file, 1));
  if (!input.solution.empty()) writer.write_text((fs::path(o.out) / "solution.csv").string(), input.solution);
  writer.commit();
  print({o.out, schema, census, assignment, sizes, train_files, test_examples + assignment.held_out});
  return static_cast<int>(ExitCode::done);
}

}  // namespace fedmpi::app
