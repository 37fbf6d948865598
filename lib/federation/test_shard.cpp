#include <algorithm>
#include <cmath>
#include <memory>

#include "base/error.hpp"
#include "base/saturated.hpp"
#include "data/shard.hpp"
#include "federation/roster.hpp"

namespace fedmpi::federation {

namespace {

// Rank 0's share of the test rows. Training an example takes its participant three times as long as evaluating one.
double share_of_root(const mpi::Communicator& comm, double training_time, std::size_t test_rows) {
  if (comm.size() == 1) return 1.0;
  const double idle = 3.0 * training_time, work = static_cast<double>(std::max<std::size_t>(1, test_rows));
  return std::clamp(idle / work, 1.0 / comm.size(), 1.0);
}

// This rank's rows of the test shard: whole blocks, in order of rank.
struct Rows {
  std::size_t begin = 0, end = 0;
};

Rows rows_of(const mpi::Communicator& comm, double training_time, std::size_t test_rows) {
  const std::size_t blocks = (test_rows + kEvaluationRows - 1) / kEvaluationRows;
  const double of_root = share_of_root(comm, training_time, test_rows);
  const auto first_row = [&](int rank) {
    const double before = rank == 0 ? 0.0 : of_root + (1.0 - of_root) * (rank - 1) / std::max(1, comm.size() - 1);
    const auto block = static_cast<std::size_t>(std::lround(before * static_cast<double>(blocks)));
    return std::min(test_rows, block * kEvaluationRows);
  };
  return {first_row(comm.rank()), first_row(comm.rank() + 1)};
}

}  // namespace

void load_test(mpi::Communicator& comm, Roster& roster, const std::string& path, bool skip_bad, double training_time) {
  if (path.empty()) return;
  std::unique_ptr<data::Shard> shard;
  mpi::collectively(comm, [&] {
    shard = data::Shard::open(path);
    if (const auto misfit = roster.misfit(path, shard->schema(), shard->classes_inferred()))
      fail(ExitCode::bad_data, "{}", *misfit);
  });
  std::uint64_t rows_of_root = shard->rows();
  comm.broadcast_struct(rows_of_root);
  mpi::collectively(comm, [&] {
    if (shard->rows() != rows_of_root)
      fail(ExitCode::bad_data, "{}: expected {} rows as on rank 0, found {}", path, rows_of_root, shard->rows());
  });
  const auto [begin, end] = rows_of(comm, training_time, shard->rows());
  check_memory(comm, (Saturated(end - begin) * shard->schema().example_bytes()).value, "the test examples");
  mpi::collectively(comm, [&] {
    if (begin == end) return;
    // Blocks are runs of rows of the file, also where bad rows are left out: the same for any number of ranks.
    std::vector<std::uint64_t> boundaries;
    for (std::size_t row = begin; row < end; row += kEvaluationRows) boundaries.push_back(row);
    boundaries.push_back(end);
    roster.test = shard->read(boundaries, roster.schema.classes, skip_bad);
  });
  roster.test_rows = roster.test.rows;
  comm.all_sum(std::span(&roster.test_rows, 1));
  mpi::collectively(comm, [&] {
    if (roster.test_rows == 0)
      fail(ExitCode::bad_data, "data.test: expected an example that is not bad in {}, found none", path);
  });
}

}  // namespace fedmpi::federation
