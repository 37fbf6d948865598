#include "hdf5/probe.hpp"

#include <fcntl.h>
#include <malloc.h>
#include <signal.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <climits>
#include <cstring>
#include <ctime>
#include <mutex>
#include <optional>
#include <string_view>

#include "base/error.hpp"
#include "hdf5/handle.hpp"

namespace fedmpi::hdf5 {

namespace {

// The address of a function means the same in a forked process.
struct Request {
  Trial trial;
  std::uint64_t first, count, bytes;
  char path[PATH_MAX];
  bool operator==(const Request& other) const {
    return trial == other.trial && first == other.first && count == other.count && bytes == other.bytes &&
           std::strcmp(path, other.path) == 0;
  }
};

struct Reply {
  int status;     // of the worker, as waitpid() reports it: 0 while it lives
  ExitCode code;  // done, or of the Error that the trial threw
  char message[2 * PATH_MAX];
  bool good() const { return status == 0 && code == ExitCode::done; }
};

Request request_of(const std::string& path, Trial trial, std::uint64_t first, std::uint64_t count,
                   std::uint64_t bytes) {
  Request request{trial, first, count, bytes, {}};
  path.copy(request.path, sizeof request.path - 1);
  return request;
}

void die_with(pid_t parent) {
  prctl(PR_SET_PDEATHSIG, SIGKILL);
  if (getppid() != parent) _exit(0);  // gone already
}

// True when all of it came; false when the other end is gone.
template <class T>
bool receive(int socket, T& message) {
  ssize_t got = -1;
  do {
    got = recv(socket, &message, sizeof message, 0);
  } while (got < 0 && errno == EINTR);
  return got == sizeof message;
}

template <class T>
bool send_all(int socket, const T& message) {
  return socket >= 0 && send(socket, &message, sizeof message, MSG_NOSIGNAL) == sizeof message;
}

// From now on so many seconds of computing, then SIGXCPU.
void limit_computing(rlim_t seconds) {
  timespec used{};
  clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &used);
  rlimit limit{};
  getrlimit(RLIMIT_CPU, &limit);
  limit.rlim_cur = std::min(limit.rlim_max, static_cast<rlim_t>(used.tv_sec) + 1 + seconds);
  setrlimit(RLIMIT_CPU, &limit);
}

// In the worker: what becomes of it is the answer, if it gives none.
void attempt(const Request& request, Reply& reply) {
  struct stat info {};
  stat(request.path, &info);
  limit_computing(2 + static_cast<rlim_t>(info.st_size) / 20'000'000 + request.bytes / 100'000'000);
  try {
    request.trial(request.path, request.first, request.count);
  } catch (const Error& error) {
    reply.code = error.code();
    reply.message[std::string_view(error.what()).copy(reply.message, sizeof reply.message - 1)] = '\0';
  } catch (...) {  // no word about the file: the process that asks meets it too
  }
}

[[noreturn]] void work(int socket) {
  // What the library forgets to set, or uses after it has freed it, is to hurt here and not by chance in the job.
  mallopt(M_PERTURB, 0xA5);
  for (Request request; receive(socket, request);) {
    Reply reply{0, ExitCode::done, {}};
    attempt(request, reply);
    send_all(socket, reply);
  }
  _exit(0);
}

// The process that tries files, from the point of view of the one that forks it.
class Worker {
 public:
  // What it says of the file, or the status that it ended with. It lives on after a good reply only.
  Reply answer(const Request& request) {
    if (pid_ < 0) start();
    Reply reply{-1, ExitCode::done, {}};
    ++served_;
    const bool answered = send_all(socket_, request) && receive(socket_, reply);
    if (answered && reply.good()) return reply;
    int status = -1;
    if (answered) kill(pid_, SIGKILL);
    if (pid_ > 0) waitpid(pid_, &status, 0);
    if (!answered) reply = {status, ExitCode::done, {}};
    ::close(socket_);
    socket_ = pid_ = -1;
    return reply;
  }
  std::size_t served() const { return served_; }

 private:
  void start() {
    served_ = 0;
    int pair[2];
    if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, pair) != 0) return;
    const pid_t server = getpid();
    pid_ = fork();
    if (pid_ == 0) {
      die_with(server);
      close_range(3, static_cast<unsigned>(pair[1]) - 1, 0);
      work(pair[1]);
    }
    ::close(pair[1]);
    socket_ = pair[0];
  }

  int socket_ = -1;
  pid_t pid_ = -1;
  std::size_t served_ = 0;  // files
};

// The small process, until the other end is closed.
[[noreturn]] void serve(int socket, pid_t parent) {
  die_with(parent);
  Exclusive::renew_in_child();
  prctl(PR_SET_NAME, "fedmpi-probe");
  // Neither its crashes nor its open files are to be seen outside, and a signal to the job is not for it.
  const int nowhere = ::open("/dev/null", O_RDWR | O_CLOEXEC);
  for (const int fd : {STDIN_FILENO, STDOUT_FILENO, STDERR_FILENO}) dup2(nowhere, fd);
  if (socket != 3) dup2(socket, 3);
  close_range(4, ~0U, 0);
  const rlimit none = {0, 0};
  setrlimit(RLIMIT_CORE, &none);
  for (const int fatal : {SIGSEGV, SIGBUS, SIGFPE, SIGILL, SIGABRT, SIGXCPU, SIGTERM}) signal(fatal, SIG_DFL);
  for (const int job : {SIGUSR1, SIGUSR2}) signal(job, SIG_IGN);
  signal(SIGCHLD, SIG_DFL);

  Worker worker;
  for (Request request; receive(3, request);) {
    Reply reply = worker.answer(request);
    if (!reply.good() && worker.served() > 1) reply = worker.answer(request);  // by another one
    send_all(3, reply);
  }
  _exit(0);
}

class Prober {
 public:
  Prober() { start(); }
  Prober(const Prober&) = delete;
  Prober& operator=(const Prober&) = delete;
  ~Prober() { stop(); }

  // Nothing when no process can be had.
  std::optional<Reply> ask(const Request& request) {
    const std::scoped_lock one_at_a_time(mutex_);
    if (owner_ != getpid()) restart();  // forked from the one that started it: two would read each other's answers
    if (ahead_ && !ahead_->reply && !receive(socket_, ahead_->reply.emplace())) restart();
    if (ahead_ && ahead_->request == request) {
      const Reply reply = *ahead_->reply;
      ahead_.reset();
      if (reply.status != -1) return reply;
    }
    for (int attempts = 0; attempts < 2; ++attempts) {
      Reply reply;
      if (send_all(socket_, request) && receive(socket_, reply) && reply.status != -1) return reply;
      restart();  // it was killed
    }
    return {};
  }
  void ask_ahead(const Request& request) {
    const std::scoped_lock one_at_a_time(mutex_);
    if (owner_ == getpid() && !ahead_ && send_all(socket_, request)) ahead_ = {request, {}};
  }

 private:
  void start() {
    int pair[2];
    if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, pair) != 0) return;
    owner_ = getpid();
    const Exclusive alone;  // no other thread is in the library: the child could not use it
    server_ = fork();
    if (server_ == 0) serve(pair[1], owner_);
    ::close(pair[1]);
    socket_ = pair[0];
    if (server_ < 0) stop();
  }
  void restart() {
    stop();
    start();
  }
  void stop() {
    ahead_.reset();
    if (socket_ >= 0) ::close(socket_);
    socket_ = -1;
    if (server_ > 0 && owner_ == getpid()) {
      kill(server_, SIGKILL);
      waitpid(server_, nullptr, 0);
    }
    server_ = -1;
  }

  struct Ahead {
    Request request;
    std::optional<Reply> reply;  // once it was read
  };
  std::mutex mutex_;
  std::optional<Ahead> ahead_;
  int socket_ = -1;
  pid_t server_ = -1, owner_ = -1;
};

Prober& prober() {
  static Prober the_one;
  return the_one;
}

}  // namespace

void start_probing() { prober(); }

void probe_soon(const std::string& path, Trial trial) {
  if (path.size() < PATH_MAX) prober().ask_ahead(request_of(path, trial, 0, 0, 0));
}

void probe(const std::string& path, Trial trial, std::uint64_t first, std::uint64_t count, std::uint64_t bytes) {
  if (path.size() >= PATH_MAX) fail(ExitCode::bad_data, "{}: expected a shorter path, found this one", path);
  const Request request = request_of(path, trial, first, count, bytes);
  const std::optional<Reply> reply = prober().ask(request);
  if (!reply) fail(ExitCode::io, "{}: cannot start a process to probe the file: {}", path, std::strerror(errno));
  if (reply->code != ExitCode::done) throw Error(reply->code, reply->message);
  const int status = reply->status;
  if (status == 0) return;
  const int signal = WIFSIGNALED(status) ? WTERMSIG(status) : 0;
  if (signal == SIGKILL || signal == SIGTERM)
    fail(ExitCode::io, "{}: the process that was to probe the file has been killed; is there too little memory?", path);
  fail(ExitCode::bad_data, "{}: expected a whole HDF5 file, found a damaged or forged one on which the library {}",
       path, signal == SIGXCPU ? "does not come to an end" : "crashes");
}

}  // namespace fedmpi::hdf5
