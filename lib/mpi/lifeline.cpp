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
#include <utility>

#include "base/error.hpp"
#include "mpi/ending.hpp"

namespace fedmpi::mpi {

namespace {

using Clock = std::chrono::steady_clock;
using Seconds = std::chrono::duration<double>;

// A silent connection is probed after kIdle seconds, and every second from then on; it is lost, and one on which
// something was said, when nothing is answered for kUnanswered.
constexpr int kIdle = 2, kUnanswered = 5;
constexpr int kStopped = static_cast<int>(ExitCode::stopped);

// What ranks say to one another; a message of any other kind is ignored.
constexpr unsigned char kGoodbye = 'g';  // that this rank is done
constexpr unsigned char kOn = 'o';       // that it continues
constexpr unsigned char kLeave = 'l';    // that the other one is to leave, with that exit code
struct Message {
  unsigned char what, exit_code;
};

void keep_probing(int socket) {
  const auto set = [&](int level, int option, int value) { setsockopt(socket, level, option, &value, sizeof value); };
  set(IPPROTO_TCP, TCP_KEEPIDLE, kIdle);
  set(IPPROTO_TCP, TCP_KEEPINTVL, 1);
  set(IPPROTO_TCP, TCP_USER_TIMEOUT, 1000 * kUnanswered);
  set(SOL_SOCKET, SO_KEEPALIVE, 1);
}

std::string names_of(const std::vector<const Connection*>& peers) {
  std::vector<std::string> names;
  for (const Connection* peer : peers) names.push_back(fmt::format("rank {} on {}", peer->rank, peer->host));
  return fmt::format("{}", fmt::join(names, ", "));
}

}  // namespace

Lifeline::Lifeline(Communicator& comm, const Times& times) : rank_(comm.rank()), times_(times) {
  if (comm.size() == 1) return;
  peers_ = connect_with_root(comm);
  if (comm.is_root()) name_unwatched(comm.size());
  for (const Connection& peer : peers_) keep_probing(peer.socket);
  news_ = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
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

void Lifeline::tell(unsigned char what, int exit_code) const {
  const Message message = {what, static_cast<unsigned char>(exit_code)};
  for (const Connection& peer : peers_) send(peer.socket, &message, sizeof message, MSG_NOSIGNAL | MSG_DONTWAIT);
}

void Lifeline::give_signs_of_life(double seconds) {
  if (!watcher_.joinable()) return;
  patience_ = seconds > 0 ? std::max(seconds, times_.shortest_patience) : 0.0;
  expects_ = true;
  eventfd_write(news_, 1);
}

void Lifeline::await_the_end() const {
  if (!outlives_) std::this_thread::sleep_for(Seconds(2 * times_.grace));
}

void Lifeline::take_leave() { tell(kGoodbye); }

void Lifeline::dismiss(int exit_code) { tell(kLeave, exit_code); }

std::vector<int> Lifeline::lost() const {
  const std::lock_guard lock(mutex_);
  std::vector<int> ranks;
  for (const Connection* peer : lost_) ranks.push_back(peer->rank);
  return ranks;
}

struct Lifeline::State {
  std::vector<pollfd> sockets;           // of the peers, and news_
  std::vector<Clock::time_point> heard;  // of the peers
  Clock::time_point now = Clock::now(), spoken = now;
  std::optional<Clock::time_point> first_lost;

  bool hears(std::size_t peer) const { return sockets[peer].fd >= 0; }
  void hear_no_more(std::size_t peer) { sockets[peer].fd = -1; }  // poll() passes over it
  bool passed(double seconds, Clock::time_point since) const { return Seconds(now - since).count() > seconds; }
};

void Lifeline::watch() {
  State state;
  for (const Connection& peer : peers_) state.sockets.push_back({peer.socket, POLLIN, 0});
  state.sockets.push_back({news_, POLLIN, 0});
  state.heard.assign(peers_.size(), state.now);
  const auto milliseconds = [](double seconds) { return std::max(1, static_cast<int>(1000 * seconds)); };
  for (bool speaks = false; !leaves_;) {
    const int pause = state.first_lost ? milliseconds(times_.grace / 20)
                      : speaks         ? milliseconds(times_.speaks_every / 4)
                                       : -1;
    poll(state.sockets.data(), state.sockets.size(), pause);
    const Clock::time_point before = std::exchange(state.now, Clock::now());
    eventfd_t news = 0;
    if (eventfd_read(news_, &news) == 0) speaks = patience_ > 0;
    for (std::size_t i = 0; i < peers_.size(); ++i)
      if (state.hears(i) && state.sockets[i].revents != 0) listen_to(i, state);
    if (state.first_lost && !outlives_ && state.passed(times_.grace, *state.first_lost)) {
      tell(kLeave, kStopped);
      say_why(fmt::format("lost the connection to {}: process, node or network is gone", names_of(lost_)), rank_);
      std::_Exit(kStopped);
    }
    if (!speaks) continue;
    if (state.passed(times_.speaks_every, state.spoken)) {
      tell(kOn);
      state.spoken = state.now;
    }
    // Where it was suspended itself, the others may have been, too.
    if (news > 0 || state.passed(times_.speaks_every, before)) state.heard.assign(peers_.size(), state.now);
    expect_all(state);
  }
}

void Lifeline::listen_to(std::size_t peer, State& state) {
  bool broken = false;
  const auto said = received<Message>(state.sockets[peer].fd, broken);
  if (said && said->what == kOn) {
    state.heard[peer] = state.now;
  } else if (said && said->what == kGoodbye) {
    state.hear_no_more(peer);
  } else if (said && said->what == kLeave) {
    leave_exit_code(rank_, said->exit_code);
    std::_Exit(said->exit_code);
  } else if (broken) {
    state.hear_no_more(peer);
    if (!state.first_lost) state.first_lost = state.now;
    const std::lock_guard lock(mutex_);
    lost_.push_back(&peers_[peer]);
  }
}

void Lifeline::expect_all(const State& state) const {
  const double patience = patience_;
  if (patience == 0 || !expects_) return;
  const double longer = rank_ > 1 ? times_.speaks_every : 0.0;  // so that as a rule one rank speaks for all
  std::vector<const Connection*> silent;
  for (std::size_t i = 0; i < peers_.size(); ++i)
    if (state.hears(i) && state.passed(patience + longer, state.heard[i])) silent.push_back(&peers_[i]);
  if (silent.empty()) return;
  constexpr int kRoot = 0;  // is this rank, or the silent one, in whose place the exit code is left
  say_why(fmt::format("no sign of life from {} for {:g} s (federation.deadline)", names_of(silent), patience), kRoot);
  end_all(kStopped);  // the others are not told before: an mpirun that they leave at the same time may lock itself up
}

void Lifeline::say_why(const std::string& why, int leaving) const {
  // The file's system may be gone with a node, whoever reads stderr may be stuck, and the main thread may hold its
  // lock.
  const TimeLimit limit(1, kStopped, "");
  leave_exit_code(leaving, kStopped, why);
  const std::string text = fmt::format("fedmpi: rank {}: {}; what was saved is intact\n", rank_, why);
  [[maybe_unused]] const auto written = write(STDERR_FILENO, text.data(), text.size());
}

Lifeline::~Lifeline() {
  if (!watcher_.joinable()) return;
  leaves_ = true;
  eventfd_write(news_, 1);
  watcher_.join();
  close(news_);
  for (const Connection& peer : peers_) close(peer.socket);
}

}  // namespace fedmpi::mpi
