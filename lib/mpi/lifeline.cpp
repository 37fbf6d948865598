#include "mpi/lifeline.hpp"

#include <fmt/format.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <signal.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include <algorithm>
#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <optional>
#include <string>

#include "base/error.hpp"
#include "mpi/exit_file.hpp"

namespace fedmpi::mpi {

namespace {

using Clock = std::chrono::steady_clock;

// A silent connection is probed after kIdle seconds, and lost when kProbes of them, a second apart, find no answer.
constexpr int kIdle = 2, kProbes = 4;
// For the launcher to end all ranks by itself, with the exit code of the one that died.
constexpr auto kGrace = std::chrono::seconds(2);

// What is said: that this rank is done, or the exit code with which the other one is to leave.
constexpr unsigned char kGoodbye = 255, kStopped = static_cast<unsigned char>(ExitCode::stopped);

void keep_probing(int socket) {
  const auto set = [&](int level, int option, int value) { setsockopt(socket, level, option, &value, sizeof value); };
  set(IPPROTO_TCP, TCP_KEEPIDLE, kIdle);
  set(IPPROTO_TCP, TCP_KEEPINTVL, 1);
  set(IPPROTO_TCP, TCP_KEEPCNT, kProbes);
  set(SOL_SOCKET, SO_KEEPALIVE, 1);
}

}  // namespace

Lifeline::Lifeline(Communicator& comm) : rank_(comm.rank()) {
  if (comm.size() == 1) return;
  peers_ = connect_with_root(comm);
  if (comm.is_root()) name_unwatched(comm.size());
  for (const Connection& peer : peers_) keep_probing(peer.socket);
  stop_ = eventfd(0, EFD_CLOEXEC);
  sigset_t all, before;
  sigfillset(&all);
  pthread_sigmask(SIG_SETMASK, &all, &before);  // signals are for the main thread
  watcher_ = std::thread([this] { watch(); });
  pthread_sigmask(SIG_SETMASK, &before, nullptr);
}

void Lifeline::name_unwatched(int ranks) const {
  std::vector<int> unwatched;
  auto peer = peers_.begin();
  for (int r = 1; r < ranks; ++r) {
    if (peer != peers_.end() && peer->rank == r)
      ++peer;
    else
      unwatched.push_back(r);
  }
  if (unwatched.empty()) return;
  std::fputs(fmt::format("fedmpi: no TCP connection from rank {}: nobody will notice when its node is lost\n",
                         fmt::join(unwatched, ", "))
                 .c_str(),
             stderr);
}

void Lifeline::tell(unsigned char what) const {
  for (const Connection& peer : peers_) send(peer.socket, &what, 1, MSG_NOSIGNAL | MSG_DONTWAIT);
}

void Lifeline::await_the_end() const {
  if (!outlives_) std::this_thread::sleep_for(2 * kGrace);
}

void Lifeline::take_leave() { tell(kGoodbye); }

void Lifeline::dismiss(int exit_code) { tell(static_cast<unsigned char>(exit_code)); }

std::vector<int> Lifeline::lost() const {
  const std::lock_guard lock(mutex_);
  std::vector<int> ranks;
  for (const Connection* peer : lost_) ranks.push_back(peer->rank);
  return ranks;
}

void Lifeline::watch() {
  std::vector<pollfd> sockets;
  for (const Connection& peer : peers_) sockets.push_back({peer.socket, POLLIN, 0});
  sockets.push_back({stop_, POLLIN, 0});
  std::optional<Clock::time_point> first_lost;
  for (;;) {
    poll(sockets.data(), sockets.size(), first_lost ? 100 : -1);
    if (sockets.back().revents != 0) return;
    for (std::size_t i = 0; i < peers_.size(); ++i) {
      if (sockets[i].fd < 0 || sockets[i].revents == 0) continue;
      bool broken = false;
      const auto said = received<unsigned char>(sockets[i].fd, broken);
      if (said && said != kGoodbye) {
        leave_exit_code(rank_, *said);
        std::_Exit(*said);
      }
      if (said || broken) sockets[i].fd = -1;  // poll() passes over it
      if (!broken) continue;
      if (!first_lost) first_lost = Clock::now();
      const std::lock_guard lock(mutex_);
      lost_.push_back(&peers_[i]);
    }
    if (first_lost && !outlives_ && Clock::now() - *first_lost > kGrace) end();
  }
}

void Lifeline::end() const {
  std::vector<std::string> names;
  for (const Connection* peer : lost_) names.push_back(fmt::format("rank {} on {}", peer->rank, peer->host));
  tell(kStopped);
  // Whoever reads stderr may be gone or stuck, and the main thread may hold its lock.
  signal(SIGALRM, [](int) { std::_Exit(kStopped); });
  alarm(1);
  leave_exit_code(rank_, kStopped);
  const std::string text = fmt::format(
      "fedmpi: rank {}: lost the connection to {}: process, node or network is gone; the last checkpoint is intact\n",
      rank_, fmt::join(names, ", "));
  [[maybe_unused]] const auto written = write(STDERR_FILENO, text.data(), text.size());
  std::_Exit(kStopped);
}

Lifeline::~Lifeline() {
  if (!watcher_.joinable()) return;
  eventfd_write(stop_, 1);
  watcher_.join();
  close(stop_);
  for (const Connection& peer : peers_) close(peer.socket);
}

}  // namespace fedmpi::mpi
