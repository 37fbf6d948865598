#include "hdf5/probe.hpp"

#include <fcntl.h>
#include <malloc.h>
#include <signal.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cerrno>
#include <climits>
#include <cstring>
#include <mutex>
#include <optional>
#include <string_view>

#include "base/error.hpp"

namespace fedmpi::hdf5 {

namespace {

// The address of a function means the same in a forked process.
struct Request {
  Trial trial;
  std::uint64_t first, count, bytes;
  char path[PATH_MAX];
};

struct Reply {
  int status;     // of the process that tried, as waitpid() reports it
  ExitCode code;  // done, or of the Error that the trial threw
  char message[2 * PATH_MAX];
};

void die_with(pid_t parent) {
  prctl(PR_SET_PDEATHSIG, SIGKILL);
  if (getppid() != parent) _exit(0);  // gone already
}

// In a process of its own: what becomes of it is the answer.
[[noreturn]] void attempt(const Request& request, Reply& reply) {
  struct stat info {};
  stat(request.path, &info);
  const rlim_t seconds = 2 + static_cast<rlim_t>(info.st_size) / 20'000'000 + request.bytes / 100'000'000;
  const rlimit limit = {seconds, seconds + 1};  // the first by SIGXCPU
  setrlimit(RLIMIT_CPU, &limit);
  // What the library forgets to set, or uses after it has freed it, is to hurt here and not by chance in the job.
  mallopt(M_PERTURB, 0xA5);
  try {
    request.trial(request.path, request.first, request.count);
  } catch (const Error& error) {
    reply.code = error.code();
    reply.message[std::string_view(error.what()).copy(reply.message, sizeof reply.message - 1)] = '\0';
  } catch (...) {  // no word about the file: the process that asks meets it too
  }
  _exit(0);
}

// The process that forks one for each request, until the other end is closed.
[[noreturn]] void serve(int socket, pid_t parent) {
  die_with(parent);
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
  // Shared with the process that tries.
  void* const page = mmap(nullptr, sizeof(Reply), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
  if (page == MAP_FAILED) _exit(0);
  Reply& reply = *static_cast<Reply*>(page);

  for (Request request; recv(3, &request, sizeof request, 0) == sizeof request;) {
    reply = {-1, ExitCode::done, {}};
    const pid_t server = getpid(), worker = fork();
    if (worker == 0) {
      die_with(server);
      attempt(request, reply);
    }
    if (worker > 0) waitpid(worker, &reply.status, 0);
    send(3, &reply, sizeof reply, MSG_NOSIGNAL);
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
    if (owner_ != getpid()) {  // a process forked from the one that started it: two would read each other's answers
      stop();
      start();
    }
    for (int attempts = 0; attempts < 2; ++attempts) {
      Reply reply;
      if (socket_ >= 0 && send(socket_, &request, sizeof request, MSG_NOSIGNAL) == sizeof request && receive(reply) &&
          reply.status != -1)
        return reply;
      stop();  // it was killed
      start();
    }
    return {};
  }

 private:
  void start() {
    int pair[2];
    if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, pair) != 0) return;
    owner_ = getpid();
    server_ = fork();
    if (server_ == 0) serve(pair[1], owner_);
    ::close(pair[1]);
    socket_ = pair[0];
    if (server_ < 0) stop();
  }
  void stop() {
    if (socket_ >= 0) ::close(socket_);
    socket_ = -1;
    if (server_ > 0 && owner_ == getpid()) {
      kill(server_, SIGKILL);
      waitpid(server_, nullptr, 0);
    }
    server_ = -1;
  }
  bool receive(Reply& reply) const {
    ssize_t got = -1;
    do {
      got = recv(socket_, &reply, sizeof reply, 0);
    } while (got < 0 && errno == EINTR);
    return got == sizeof reply;
  }

  std::mutex mutex_;
  int socket_ = -1;
  pid_t server_ = -1, owner_ = -1;
};

Prober& prober() {
  static Prober the_one;
  return the_one;
}

}  // namespace

void start_probing() { prober(); }

void probe(const std::string& path, Trial trial, std::uint64_t first, std::uint64_t count, std::uint64_t bytes) {
  Request request{trial, first, count, bytes, {}};
  if (path.size() >= sizeof request.path) fail(ExitCode::bad_data, "{}: expected a shorter path, found this one", path);
  path.copy(request.path, path.size());
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
