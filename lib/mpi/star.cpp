#include "mpi/star.hpp"

#include <unistd.h>

#include <algorithm>
#include <cstring>
#include <exception>
#include <optional>
#include <utility>

#include "base/error.hpp"
#include "mpi/lifeline.hpp"
#include "mpi/polling.hpp"

namespace fedmpi::mpi {

Star::Star(Communicator& comm, double deadline)
    : comm_(comm), deadline_(deadline), present_(static_cast<std::size_t>(comm.size()), true) {
  seat_ = {.root = comm.is_root(),
           .nodes = comm.size(),
           .cores = static_cast<int>(std::max(1L, sysconf(_SC_NPROCESSORS_ONLN)))};
  const Process me = Process::self();
  const std::vector<char> all = comm.gather(std::span(reinterpret_cast<const char*>(&me), sizeof me));
  processes_.resize(all.size() / sizeof me);
  if (is_root()) std::memcpy(static_cast<void*>(processes_.data()), all.data(), all.size());
  if (!is_root()) MPI_Irecv(nullptr, 0, MPI_BYTE, 0, kLeave, comm.handle(), &leave_);
}

Star::~Star() {
  for (Transfer& t : transfers_) t.give_up();
  if (leave_ != MPI_REQUEST_NULL) {
    MPI_Cancel(&leave_);
    MPI_Request_free(&leave_);
  }
  // With an error of its own rank 0 is about to leave by itself.
  if (is_root() && comm_.lifeline() != nullptr && !comm_.abandoned() && std::uncaught_exceptions() == 0)
    comm_.lifeline()->outlive_participants(false);
}

void Star::rounds_begin() {
  if (!is_root() || comm_.lifeline() == nullptr) return;
  comm_.lifeline()->expect_signs_of_life(false);
  comm_.lifeline()->outlive_participants(true);
}

Star::Transfer::State Star::Transfer::move(double now, MPI_Comm comm) {
  for (MPI_Request& block : blocks) {
    if (block != MPI_REQUEST_NULL) {
      int done = 0;
      if (MPI_Test(&block, &done, MPI_STATUS_IGNORE) != MPI_SUCCESS) return State::broken;
      if (done == 0) continue;
      moved = now;
    }
    if (rest.empty()) continue;
    const std::span<std::byte> next = rest.first(std::min(kBlock, rest.size()));
    const int n = static_cast<int>(next.size());
    const int result = sends ? MPI_Isend(next.data(), n, MPI_BYTE, rank, tag, comm, &block)
                             : MPI_Irecv(next.data(), n, MPI_BYTE, rank, tag, comm, &block);
    if (result != MPI_SUCCESS) return State::broken;
    rest = rest.subspan(next.size());
  }
  return std::ranges::all_of(blocks, [](MPI_Request b) { return b == MPI_REQUEST_NULL; }) ? State::done : State::moves;
}

void Star::Transfer::give_up() {
  for (MPI_Request& block : blocks) {
    if (block == MPI_REQUEST_NULL) continue;
    MPI_Cancel(&block);
    MPI_Request_free(&block);
  }
}

void Star::to(int rank, Tag tag, std::span<std::byte> data) {
  if (!data.empty()) transfers_.push_back({.rank = rank, .tag = tag, .sends = true, .rest = data});
}

void Star::from(int rank, Tag tag, std::span<std::byte> data) {
  if (!data.empty()) transfers_.push_back({.rank = rank, .tag = tag, .sends = false, .rest = data});
}

// In the order in which they were said, since MPI keeps the order of what one rank sends to another.
void Star::finish(int deadlines) {
  for (Polling polling; !transfers_.empty(); polling.pause()) {
    const double now = polling.seconds();
    for (Transfer& t : transfers_) {
      t.state = present(t.rank) ? t.move(now, comm_.handle()) : Transfer::State::broken;
      if (t.state == Transfer::State::moves && is_root() && now - t.moved > deadlines * deadline_)
        t.state = Transfer::State::broken;
      if (t.state == Transfer::State::broken) break_off(t);
    }
    std::erase_if(transfers_, [](const Transfer& t) { return t.state != Transfer::State::moves; });
    if (!is_root() && !transfers_.empty()) leave_if_told();
    if (transfers_.empty()) return;
  }
}

void Star::break_off(Transfer& transfer) {
  if (!is_root()) fail(ExitCode::stopped, "rank 0 is gone; what was saved is intact");
  transfer.give_up();
  lose(transfer.rank);
}

void Star::leave_if_told() {
  int leave = 0;
  if (MPI_Test(&leave_, &leave, MPI_STATUS_IGNORE) != MPI_SUCCESS || leave == 0) return;
  for (Transfer& t : transfers_) t.give_up();
  transfers_.clear();
  comm_.abandon();
  fail(ExitCode::stopped, "rank 0 continues without rank {}, which kept it waiting for more than {:g} s", comm_.rank(),
       deadline_);
}

void Star::lose(int rank) {
  const std::size_t r = static_cast<std::size_t>(rank);
  if (!present_[r]) return;
  present_[r] = false;
  lost_.push_back(rank);
  if (comm_.lifeline() != nullptr && kill_if_in_reach(processes_[r])) return;
  some_may_run_ = true;
  MPI_Request request = MPI_REQUEST_NULL;
  if (MPI_Isend(nullptr, 0, MPI_BYTE, rank, kLeave, comm_.handle(), &request) == MPI_SUCCESS)
    MPI_Request_free(&request);
}

void Star::look_for_lost() {
  if (!is_root() || comm_.lifeline() == nullptr) return;
  for (const int rank : comm_.lifeline()->lost()) lose(rank);
}

void Star::abandon_lost(int exit_code, bool others_wait) {
  comm_.abandon(others_wait || some_may_run_ ? std::optional(exit_code) : std::nullopt);
}

void Star::make_room(std::size_t bytes) {
  if (said_.size() < bytes) said_.resize(bytes);
}

void Star::keep_room_if_lost(std::size_t lost_before) {
  if (lost() == lost_before) return;
  rooms_of_lost_.push_back(std::move(said_));
  said_ = rooms_of_lost_.back();
}

void Star::broadcast_bytes(std::span<std::byte> value, std::span<float> vector) {
  const std::span<std::byte> bytes = std::as_writable_bytes(vector);
  if (!is_root()) {
    from(0, kDown, value);
    from(0, kDown, bytes);
    return finish();
  }
  for (int r = 1; r < comm_.size(); ++r) {
    if (!present(r)) continue;
    to(r, kDown, value);
    to(r, kDown, bytes);
    traffic_.down += bytes.size();
  }
  finish();
}

void Star::merge_bytes(std::span<std::byte> value, MPI_User_function* merge, int deadlines) {
  if (!is_root()) {
    to(0, kUp, value);
    finish();
    return broadcast_bytes(value, {});
  }
  const std::size_t lost_before = lost();
  const std::size_t n = value.size();
  make_room(static_cast<std::size_t>(comm_.size()) * n);
  const auto said_by = [&](int r) { return std::span(said_).subspan(static_cast<std::size_t>(r) * n, n); };
  for (int r = 1; r < comm_.size(); ++r)
    if (present(r)) from(r, kUp, said_by(r));
  finish(deadlines);
  keep_room_if_lost(lost_before);
  for (int r = 1; r < comm_.size(); ++r) {
    int one = 1;
    if (present(r)) merge(said_by(r).data(), value.data(), &one, nullptr);
  }
  broadcast_bytes(value, {});
}

void Star::send_sum(std::span<std::int64_t> block) {
  to(0, kUp, std::as_writable_bytes(block));
  finish();
}

void Star::receive_sum(std::span<std::int64_t> block) {
  std::fill(block.begin(), block.end(), 0);
  for (int r = 1; r < comm_.size(); ++r) {
    if (!present(r)) continue;
    const std::size_t lost_before = lost();
    make_room(block.size_bytes());
    from(r, kUp, std::span(said_).first(block.size_bytes()));
    finish();
    keep_room_if_lost(lost_before);
    if (!present(r)) continue;
    traffic_.up += block.size_bytes();
    const auto* part = reinterpret_cast<const std::int64_t*>(said_.data());
    for (std::size_t j = 0; j < block.size(); ++j) block[j] += part[j];
  }
}

Traffic Star::take_traffic() {
  Traffic all = std::exchange(traffic_, {});
  return all += comm_.take_traffic();
}

}  // namespace fedmpi::mpi
