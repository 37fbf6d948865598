#include "checkpoint/run_directory.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <cerrno>
#include <charconv>
#include <cstring>
#include <filesystem>
#include <string_view>

#include "base/error.hpp"

namespace fedmpi::checkpoint {

namespace fs = std::filesystem;

namespace {

constexpr std::string_view kPartial = ".partial";

// The checkpoints among these files, ascending by round.
std::vector<std::string> checkpoints_among(std::vector<std::string> files) {
  std::erase_if(files, [](const std::string& file) { return !round_of(file); });
  std::sort(files.begin(), files.end(),
            [](const std::string& a, const std::string& b) { return round_of(a) < round_of(b); });
  return files;
}

void replace_file(const std::string& path, const std::string& text) {
  const std::string partial = path + ".partial";
  std::ofstream file(partial);
  file << text;
  file.close();
  if (!file || std::rename(partial.c_str(), path.c_str()) != 0)
    fail(ExitCode::cannot_create, "{}: cannot be written: {}", path, std::strerror(errno));
}

}  // namespace

std::optional<std::uint64_t> round_of(const std::string& file) {
  constexpr std::string_view kBegin = "checkpoint-", kEnd = ".h5";
  std::string_view digits = std::string_view(file).substr(file.rfind('/') + 1);
  if (!digits.starts_with(kBegin) || !digits.ends_with(kEnd)) return std::nullopt;
  digits.remove_prefix(kBegin.size());
  digits.remove_suffix(kEnd.size());
  std::uint64_t round = 0;
  const char* const last = digits.data() + digits.size();
  const auto [end, error] = std::from_chars(digits.data(), last, round);
  return end == last && error == std::errc() ? std::optional(round) : std::nullopt;
}

RunDirectory::RunDirectory(std::string path, std::size_t keep) : path_(std::move(path)), keep_(keep) {
  std::error_code error;
  for (fs::path p = path_; !p.empty() && !fs::exists(p, error); p = p.parent_path()) created_.push_back(p.string());
  fs::create_directories(path_, error);
  if (error) fail(ExitCode::cannot_create, "run.dir: {} cannot be created: {}", path_, error.message());
  lock_.emplace(path_ + "/.lock", "run.dir");
  const std::string link = path_ + "/latest.h5.partial";
  fs::remove(link, error);
  fs::create_symlink(".", link, error);
  if (error) fail(ExitCode::cannot_create, "run.dir: {} cannot hold a symbolic link: {}", path_, error.message());
  fs::remove(link, error);
}

RunDirectory::~RunDirectory() {
  lock_.reset();
  std::error_code not_empty;
  for (const std::string& directory : created_) fs::remove(directory, not_empty);
}

std::vector<std::string> RunDirectory::entries(std::error_code& error) const {
  std::vector<std::string> files;
  for (fs::directory_iterator entry(path_, error), end; !error && entry != end; entry.increment(error))
    files.push_back(entry->path().string());
  return files;
}

std::vector<std::string> RunDirectory::checkpoints() const {
  std::error_code error;
  std::vector<std::string> files = checkpoints_among(entries(error));
  if (error) fail(ExitCode::io, "run.dir: {} cannot be read: {}", path_, error.message());
  return files;
}

std::optional<Checkpoint> RunDirectory::newest(const std::function<void(const std::string&)>& note) const {
  std::vector<std::string> files = checkpoints();
  if (files.empty()) return std::nullopt;
  for (; !files.empty(); files.pop_back()) {
    try {
      return read(files.back());
    } catch (const Error& error) {
      if (error.code() != ExitCode::bad_data) throw;  // says nothing about the file
      note(fmt::format("{}{}", error.what(), files.size() > 1 ? "; trying the checkpoint before it" : ""));
    }
  }
  fail(ExitCode::bad_data,
       "run.resume: {} holds checkpoints, and none of them is whole; choose another directory to start anew", path_);
}

void RunDirectory::set_aside_after(std::uint64_t round) const {
  std::error_code ignored;
  for (const std::string& file : entries(ignored))
    if (file.ends_with(kPartial) && round_of(file.substr(0, file.size() - kPartial.size()))) fs::remove(file, ignored);
  std::vector<std::string> files = checkpoints();
  if (files.empty() || round_of(files.back()) <= round) return;
  for (; !files.empty() && round_of(files.back()) > round; files.pop_back()) {
    std::error_code error;
    fs::rename(files.back(), files.back() + ".damaged", error);
    if (error) fail(ExitCode::io, "{}: cannot be renamed: {}", files.back(), error.message());
  }
  if (!files.empty()) point_latest_at(fs::path(files.back()).filename());
}

void RunDirectory::write_config(const std::string& ini) const { replace_file(path_ + "/config.ini", ini); }

void RunDirectory::begin_history(std::span<const Column> columns, std::span<const Row> rows) {
  columns_.assign(columns.begin(), columns.end());
  std::string text = csv_header(columns_);
  for (const Row& row : rows) text += csv_line(columns_, row);
  history_ = {};
  replace_file(path_ + "/history.csv", text);
  history_.open(path_ + "/history.csv", std::ios::app);
}

void RunDirectory::append_history(std::span<const Row> rows) {
  // After a failed write nobody knows what the file holds.
  if (!history_.is_open()) return begin_history(std::vector(columns_), rows);
  history_ << csv_line(columns_, rows.back()) << std::flush;
  if (history_) return;
  const int error = errno;
  history_ = {};
  fail(ExitCode::io, "{}/history.csv: cannot be written: {}", path_, std::strerror(error));
}

std::uint64_t RunDirectory::oldest_kept() const {
  std::error_code ignored;
  const std::vector<std::string> files = checkpoints_among(entries(ignored));
  return files.size() < keep_ ? 0 : *round_of(files[files.size() - keep_]);
}

std::string RunDirectory::save(const Snapshot& snapshot) {
  const std::string name = fmt::format("checkpoint-{:06}.h5", snapshot.facts.round);
  const std::string file = path_ + "/" + name;
  try {
    write(snapshot, file);
  } catch (const Error&) {
    write(snapshot, file);  // once more, as a new file: after a failed fsync the old one cannot be trusted
  }

  point_latest_at(name);
  std::error_code ignored;
  const std::vector<std::string> files = checkpoints_among(entries(ignored));
  for (std::size_t i = 0; i + keep_ < files.size(); ++i) fs::remove(files[i], ignored);
  return file;
}

void RunDirectory::point_latest_at(const std::string& name) const {
  std::error_code error;
  const std::string link = path_ + "/latest.h5.partial";
  fs::remove(link, error);
  fs::create_symlink(name, link, error);
  if (!error) fs::rename(link, path_ + "/latest.h5", error);
  if (error) fail(ExitCode::io, "{}/latest.h5: cannot be pointed at {}: {}", path_, name, error.message());
}

}  // namespace fedmpi::checkpoint
