#include "mpi/connections.hpp"

#include <ifaddrs.h>
#include <net/if.h>
#include <netinet/in.h>
#include <poll.h>
#include <sys/resource.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <chrono>
#include <cstdint>
#include <cstring>
#include <random>

#include "mpi/polling.hpp"

namespace fedmpi::mpi {

namespace {

using Clock = std::chrono::steady_clock;

constexpr auto kTimeToConnect = std::chrono::seconds(5);
constexpr rlim_t kOtherFiles = 256;  // that rank 0 may need to open

// That the other end belongs to this job.
using Token = std::array<std::uint32_t, 4>;

// Where rank 0 is to be found.
struct Invitation {
  std::array<in_addr_t, 32> addresses;
  std::int32_t count = 0;
  in_port_t port = 0;
  Token token;
  char host[MPI_MAX_PROCESSOR_NAME];
};

struct Hello {  // by TCP
  Token token;
  std::int32_t rank;
};

struct Report {  // by MPI
  bool connected;
  char host[MPI_MAX_PROCESSOR_NAME];
};

void put_host(char (&host)[MPI_MAX_PROCESSOR_NAME]) {
  int length = 0;
  MPI_Get_processor_name(host, &length);
}

// Both have to stay where they are until it is done.
MPI_Request gather(const Report& mine, std::vector<Report>& all, Communicator& comm) {
  MPI_Request request;
  MPI_Igather(&mine, sizeof mine, MPI_BYTE, all.data(), sizeof mine, MPI_BYTE, 0, comm.handle(), &request);
  return request;
}

// Every address of this host; the one that only this host can reach comes last.
void put_addresses(Invitation& invitation) {
  ifaddrs* first = nullptr;
  if (getifaddrs(&first) != 0) return;
  for (const bool loopback : {false, true}) {
    for (const ifaddrs* i = first; i != nullptr; i = i->ifa_next) {
      const bool fits = i->ifa_addr != nullptr && i->ifa_addr->sa_family == AF_INET && (i->ifa_flags & IFF_UP) != 0 &&
                        ((i->ifa_flags & IFF_LOOPBACK) != 0) == loopback;
      if (!fits || static_cast<std::size_t>(invitation.count) == invitation.addresses.size()) continue;
      sockaddr_in address;
      std::memcpy(&address, i->ifa_addr, sizeof address);
      invitation.addresses[static_cast<std::size_t>(invitation.count++)] = address.sin_addr.s_addr;
    }
  }
  freeifaddrs(first);
}

sockaddr_in internet(in_addr_t address, in_port_t port) {
  sockaddr_in where{};
  where.sin_family = AF_INET;
  where.sin_addr.s_addr = address;
  where.sin_port = port;
  return where;
}

int new_socket() { return socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0); }

// On any address and a free port; -1 if there is none.
int listen_on(in_port_t& port) {
  const int listener = new_socket();
  sockaddr_in where = internet(INADDR_ANY, 0);
  socklen_t size = sizeof where;
  if (listener < 0 || bind(listener, reinterpret_cast<sockaddr*>(&where), size) != 0 ||
      listen(listener, SOMAXCONN) != 0 || getsockname(listener, reinterpret_cast<sockaddr*>(&where), &size) != 0) {
    if (listener >= 0) close(listener);
    return -1;
  }
  port = where.sin_port;
  return listener;
}

// A connection to rank 0 by whichever of its addresses leads there; -1 if none does.
int connection(const Invitation& invitation, const Hello& hello) {
  std::vector<pollfd> attempts;
  for (int i = 0; i < invitation.count; ++i) {
    const sockaddr_in where = internet(invitation.addresses[static_cast<std::size_t>(i)], invitation.port);
    const int attempt = new_socket();
    if (attempt < 0) continue;
    if (connect(attempt, reinterpret_cast<const sockaddr*>(&where), sizeof where) == 0 || errno == EINPROGRESS)
      attempts.push_back({attempt, POLLOUT, 0});
    else
      close(attempt);
  }
  int connected = -1;
  const auto end = Clock::now() + kTimeToConnect;
  while (connected < 0 && !attempts.empty() && Clock::now() < end) {
    poll(attempts.data(), attempts.size(), 100);
    std::erase_if(attempts, [&](pollfd& attempt) {
      if (attempt.revents == 0) return false;
      bool broken = false;
      if (attempt.events == POLLOUT) {
        attempt.events = POLLIN;
        broken = send(attempt.fd, &hello, sizeof hello, MSG_NOSIGNAL) != sizeof hello;
      } else if (const auto answer = received<Token>(attempt.fd, broken); answer) {
        if (*answer == invitation.token && connected < 0) {
          connected = attempt.fd;
          return true;
        }
        broken = true;
      }
      if (broken) close(attempt.fd);
      return broken;
    });
  }
  for (const pollfd& attempt : attempts) close(attempt.fd);
  return connected;
}

// How many sockets this process may have, of `wanted`.
std::size_t allowed_sockets(std::size_t wanted) {
  rlimit limit;
  if (getrlimit(RLIMIT_NOFILE, &limit) != 0) return 0;
  limit.rlim_cur = std::max(limit.rlim_cur, std::min<rlim_t>(wanted + kOtherFiles, limit.rlim_max));
  setrlimit(RLIMIT_NOFILE, &limit);
  return std::min<rlim_t>(wanted, limit.rlim_cur - std::min(limit.rlim_cur, kOtherFiles));
}

// Answers the first Hello of each rank: that is the connection which counts. When all have reported nobody comes any
// more.
std::vector<Connection> admit(Communicator& comm) {
  const std::size_t ranks = static_cast<std::size_t>(comm.size());
  Invitation invitation = {};
  std::random_device random;
  for (std::uint32_t& part : invitation.token) part = random();
  put_host(invitation.host);
  put_addresses(invitation);
  const std::size_t room = allowed_sockets(ranks * (static_cast<std::size_t>(invitation.count) + 1));
  const int listener = listen_on(invitation.port);
  comm.broadcast_struct(invitation);
  const Report mine = {};
  std::vector<Report> reports(ranks);
  MPI_Request reporting = gather(mine, reports, comm);

  std::vector<int> sockets(ranks, -1);
  std::vector<int> guests;  // that have not said who they are
  std::size_t welcomed = 0;
  Polling polling;
  for (int all = 0; all == 0; polling.pause()) {
    MPI_Test(&reporting, &all, MPI_STATUS_IGNORE);
    for (int guest; guests.size() + welcomed < room &&
                    (guest = accept4(listener, nullptr, nullptr, SOCK_NONBLOCK | SOCK_CLOEXEC)) >= 0;)
      guests.push_back(guest);
    std::erase_if(guests, [&](int guest) {
      bool broken = false;
      const auto hello = received<Hello>(guest, broken);
      if (!hello && !broken) return false;
      const bool known = hello && hello->token == invitation.token && hello->rank > 0 && hello->rank < comm.size();
      if (known && sockets[static_cast<std::size_t>(hello->rank)] < 0 &&
          send(guest, &invitation.token, sizeof(Token), MSG_NOSIGNAL) == sizeof(Token)) {
        sockets[static_cast<std::size_t>(hello->rank)] = guest;
        ++welcomed;
      } else {
        close(guest);
      }
      return true;
    });
  }
  for (const int guest : guests) close(guest);
  if (listener >= 0) close(listener);
  std::vector<Connection> connections;
  for (std::size_t r = 1; r < ranks; ++r) {
    if (reports[r].connected)
      connections.push_back({sockets[r], static_cast<int>(r), reports[r].host});
    else if (sockets[r] >= 0)
      close(sockets[r]);  // the answer came too late
  }
  return connections;
}

std::vector<Connection> call(Communicator& comm) {
  Invitation invitation;
  comm.broadcast_struct(invitation);
  const int socket = connection(invitation, {invitation.token, comm.rank()});
  Report report = {socket >= 0, {}};
  put_host(report.host);
  std::vector<Report> none;
  MPI_Request reporting = gather(report, none, comm);
  Polling polling;
  for (int said = 0; said == 0; polling.pause()) MPI_Test(&reporting, &said, MPI_STATUS_IGNORE);
  if (socket < 0) return {};
  return {{socket, 0, invitation.host}};
}

}  // namespace

std::vector<Connection> connect_with_root(Communicator& comm) { return comm.is_root() ? admit(comm) : call(comm); }

}  // namespace fedmpi::mpi
