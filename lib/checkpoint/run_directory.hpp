// The directory of a run: config.ini, history.csv, checkpoint-NNNNNN.h5 and latest.h5, a link to the newest.
#pragma once

#include <cstdint>
#include <fstream>
#include <functional>
#include <optional>
#include <string>
#include <system_error>
#include <vector>

#include "base/file_lock.hpp"
#include "checkpoint/checkpoint.hpp"

namespace fedmpi::checkpoint {

// The round in the name of a checkpoint: of checkpoint-NNNNNN.h5, in whatever directory. No other file is taken for
// one.
std::optional<std::uint64_t> round_of(const std::string& file);

class RunDirectory {
 public:
  // Creates the directory, and takes it for this process alone, which proves that it can be written;
  // Error(cannot_create).
  RunDirectory(std::string path, std::size_t keep);
  // Removes what it created, if nothing came of it: after a dry run, or a refusal.
  ~RunDirectory();
  RunDirectory(const RunDirectory&) = delete;
  RunDirectory& operator=(const RunDirectory&) = delete;

  const std::string& path() const { return path_; }
  std::string lock_note() const { return lock_->note(); }  // see FileLock
  std::vector<std::string> checkpoints() const;  // ascending by round

  // The newest checkpoint that is whole; each damaged one is told to `note`. None at all: nothing. Some, but
  // all damaged: Error(bad_data).
  std::optional<Checkpoint> newest(const std::function<void(const std::string&)>& note) const;

  // Before a run that goes on after that round. Checkpoints of later rounds, damaged ones that newest() passed over,
  // are renamed to *.damaged, so that they do not count among those that save() keeps; what was half written when a run
  // was killed is removed. Error(io).
  void set_aside_after(std::uint64_t round) const;
  void write_config(const std::string& ini) const;
  void begin_history(std::span<const Column> columns, std::span<const Row> rows);  // replaces history.csv
  // Adds the last of all rows. After an Error(io), which loses nothing, the next call writes the file anew.
  void append_history(std::span<const Row> rows);
  // Writes checkpoint-NNNNNN.h5, twice if the first attempt fails, points latest.h5 at it, and removes all but the
  // newest `keep`, as far as it can.
  std::string save(const Checkpoint& checkpoint);

 private:
  std::vector<std::string> entries(std::error_code& error) const;
  void point_latest_at(const std::string& name) const;

  std::string path_;
  std::size_t keep_;
  std::vector<std::string> created_;  // directories, the innermost first
  std::optional<FileLock> lock_;
  std::vector<Column> columns_;
  std::ofstream history_;
};

}  // namespace fedmpi::checkpoint
