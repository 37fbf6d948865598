// A program that trains in process, and whose process the library leaves as it is.
#include <sys/resource.h>
#include <unistd.h>

#include <csignal>
#include <cstdio>
#include <cstdlib>
#include <fedmpi.hpp>

namespace {

volatile std::sig_atomic_t signals = 0;
void count(int) { signals = signals + 1; }

constexpr rlim_t kFiles = 200;  // fewer than a lifeline asks for

void expect(bool holds, const char* what) {
  if (holds) return;
  std::fprintf(stderr, "the library has changed %s\n", what);
  std::exit(1);
}

}  // namespace

int main(int argc, char** argv) {
  for (const int number : {SIGUSR1, SIGALRM, SIGTERM}) std::signal(number, count);
  alarm(10'000);
  rlimit files{};
  getrlimit(RLIMIT_NOFILE, &files);
  files.rlim_cur = kFiles;
  setrlimit(RLIMIT_NOFILE, &files);

  fedmpi::mpi::Session session(argc, argv);
  const auto config = fedmpi::federation::Config::from_file(argv[1]);
  std::raise(SIGUSR1);  // is the program's own affair, and does not end the run
  const auto outcome = fedmpi::federation::train(session.world(), config);

  for (const int number : {SIGUSR1, SIGALRM, SIGTERM}) std::raise(number);
  expect(signals == 4, "a signal's handler");
  expect(alarm(0) > 9'000, "the alarm");
  getrlimit(RLIMIT_NOFILE, &files);
  expect(files.rlim_cur == kFiles, "the limit of open files");
  if (session.world().rank() == 0)
    std::printf("%s\nweights %s\n", outcome.reason.c_str(), outcome.weights_sha256.c_str());
}
