#include "mpi/star.hpp"

#include <signal.h>
#include <unistd.h>

#include <algorithm>
#include <chrono>
#include <cstring>
#include <filesystem>

#include "base/error.hpp"
#include "mpi/polling.hpp"

namespace fedmpi::mpi {

namespace {

constexpr std::size_t kBlock = std::size_t{1} << 28;  // bytes per message: no count outgrows an int

// Only another process of this very program: the number may be somebody else's by now, or one of another container.
void kill_if_ours(std::int64_t pid) {
  if (pid == getpid()) return;
  std::error_code gone;
  const auto theirs = std::filesystem::read_symlink("/proc/" + std::to_string(pid) + "/exe", gone);
  if (!gone && theirs == std::filesystem::read_symlink("/proc/self/exe", gone)) kill(static_cast<pid_t>(pid), SIGKILL);
}

}  // namespace

Star::Star(Communicator& comm, double deadline)
    : comm_(comm), deadline_(deadline), present_(static_cast<std::size_t>(comm.size()), true) {
  Process me{};
  int length = 0;
  MPI_Get_processor_name(me.host, &length);
  me.pid = getpid();
  const std::vector<char> all = comm.gather(std::span(reinterpret_cast<const char*>(&me), sizeof me));
  processes_.resize(all.size() / sizeof me);
  if (comm.is_root()) std::memcpy(static_cast<void*>(processes_.data()), all.data(), all.size());
  if (!comm.is_root()) MPI_Irecv(nullptr, 0, MPI_BYTE, 0, kLeave, comm.handle(), &leave_);
}

Star::~Star() {
  if (leave_ == MPI_REQUEST_NULL) return;
  MPI_Cancel(&leave_);
  MPI_Request_free(&leave_);
}

std::vector<int> Star::present() const {
  std::vector<int> ranks;
  for (int r = 1; r < comm_.size(); ++r)
    if (present_[static_cast<std::size_t>(r)]) ranks.push_back(r);
  return ranks;
}

void Star::send(int rank, std::span<const std::byte> data, Tag tag, std::vector<Transfer>& transfers) {
  for (std::size_t first = 0; first < data.size(); first += kBlock) {
    MPI_Request request = MPI_REQUEST_NULL;
    const int n = static_cast<int>(std::min(kBlock, data.size() - first));
    if (MPI_Isend(data.data() + first, n, MPI_BYTE, rank, tag, comm_.handle(), &request) != MPI_SUCCESS)
      return lose(rank);
    transfers.push_back({rank, request});
  }
}

void Star::receive(int rank, std::span<std::byte> data, Tag tag, std::vector<Transfer>& transfers) {
  for (std::size_t first = 0; first < data.size(); first += kBlock) {
    MPI_Request request = MPI_REQUEST_NULL;
    const int n = static_cast<int>(std::min(kBlock, data.size() - first));
    if (MPI_Irecv(data.data() + first, n, MPI_BYTE, rank, tag, comm_.handle(), &request) != MPI_SUCCESS)
      return lose(rank);
    transfers.push_back({rank, request});
  }
}

void Star::finish(std::vector<Transfer>& transfers, int deadlines) {
  Polling polling;
  while (!transfers.empty()) {
    const bool late = polling.seconds() > deadlines * deadline_;
    std::erase_if(transfers, [&](Transfer& t) {
      int done = 0;
      if (MPI_Test(&t.request, &done, MPI_STATUS_IGNORE) != MPI_SUCCESS || (done == 0 && late)) {
        if (t.request != MPI_REQUEST_NULL) {
          MPI_Cancel(&t.request);
          MPI_Request_free(&t.request);
        }
        lose(t.rank);
        return true;
      }
      return done != 0;
    });
    if (!transfers.empty()) polling.pause();
  }
}

void Star::finish_into(std::vector<std::byte>& room, std::vector<Transfer>& transfers, int deadlines) {
  const std::size_t lost = lost_.size();
  finish(transfers, deadlines);
  if (lost_.size() == lost) return;
  rooms_of_lost_.push_back(std::move(room));
  room = rooms_of_lost_.back();
}

void Star::wait(std::vector<Transfer>& transfers) {
  Polling polling;
  for (Transfer& t : transfers) {
    for (int done = 0;; polling.pause()) {
      if (MPI_Test(&t.request, &done, MPI_STATUS_IGNORE) != MPI_SUCCESS)
        fail(ExitCode::stopped, "rank 0 is gone; what was saved is intact");
      if (done != 0) break;
      int leave = 0;
      if (MPI_Test(&leave_, &leave, MPI_STATUS_IGNORE) != MPI_SUCCESS || leave == 0) continue;
      comm_.abandon();
      fail(ExitCode::stopped, "rank 0 goes on without rank {}, which kept it waiting for more than {:g} s",
           comm_.rank(), deadline_);
    }
  }
  transfers.clear();
}

void Star::lose(int rank) {
  const std::size_t r = static_cast<std::size_t>(rank);
  if (!comm_.is_root()) fail(ExitCode::stopped, "rank 0 is gone; what was saved is intact");
  if (!present_[r]) return;
  present_[r] = false;
  lost_.push_back(rank);
  if (std::strcmp(processes_[r].host, processes_[0].host) == 0) {
    kill_if_ours(processes_[r].pid);
  } else {
    MPI_Request request = MPI_REQUEST_NULL;
    if (MPI_Isend(nullptr, 0, MPI_BYTE, rank, kLeave, comm_.handle(), &request) == MPI_SUCCESS)
      MPI_Request_free(&request);
  }
}

void Star::broadcast(std::span<std::byte> data) {
  std::vector<Transfer> transfers;
  if (comm_.is_root()) {
    for (const int rank : present()) send(rank, data, kDown, transfers);
    finish(transfers);
  } else {
    receive(0, data, kDown, transfers);
    wait(transfers);
  }
}

void Star::all_merge(std::span<std::byte> value, MPI_User_function* merge, int deadlines) {
  std::vector<Transfer> transfers;
  if (comm_.is_root()) {
    const std::vector<int> ranks = present();
    std::vector<std::byte> said(ranks.size() * value.size());
    const auto of = [&](std::size_t i) { return std::span(said).subspan(i * value.size(), value.size()); };
    for (std::size_t i = 0; i < ranks.size(); ++i) receive(ranks[i], of(i), kUp, transfers);
    finish_into(said, transfers, deadlines);
    for (std::size_t i = 0; i < ranks.size(); ++i) {
      int one = 1;
      if (present_[static_cast<std::size_t>(ranks[i])]) merge(of(i).data(), value.data(), &one, nullptr);
    }
  } else {
    send(0, value, kUp, transfers);
    wait(transfers);
  }
  broadcast(value);
}

void Star::reduce_sum(std::span<std::int64_t> values) {
  std::vector<Transfer> transfers;
  if (!comm_.is_root()) {
    send(0, std::as_bytes(values), kUp, transfers);
    return wait(transfers);
  }
  std::vector<std::byte> room(values.size_bytes());
  for (const int rank : present()) {
    receive(rank, room, kUp, transfers);
    finish_into(room, transfers);
    const auto* part = reinterpret_cast<const std::int64_t*>(room.data());
    for (std::size_t j = 0; j < values.size(); ++j) values[j] += part[j];
  }
}

bool Star::lost_elsewhere() const {
  return std::any_of(lost_.begin(), lost_.end(), [&](int rank) {
    return std::strcmp(processes_[static_cast<std::size_t>(rank)].host, processes_[0].host) != 0;
  });
}

}  // namespace fedmpi::mpi
