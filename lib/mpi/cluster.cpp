#include "mpi/cluster.hpp"

#include <fmt/format.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <new>

#include "base/error.hpp"
#include "mpi/polling.hpp"
#include "mpi/shared_memory.hpp"

namespace fedmpi::mpi {

namespace {

constexpr std::size_t kPayload = 1024;  // bytes of the largest struct that travels

// How often to look for another's answer before giving the core away: for about as long as the other's part of a small
// exchange takes; or, where members outnumber cores, hardly, since the other may be waiting for this very core.
constexpr int kLooks = 200, kLooksInACrowd = 10;

// Of a leader's word that it waits for another. Sums have tag 0: a receive that was given up is still posted.
constexpr int kWaiting = 1;

// The first of each node, or every rank, as members of one communicator; null on the others.
std::unique_ptr<Communicator> split(MPI_Comm comm, bool take_part, int rank) {
  MPI_Comm part = MPI_COMM_NULL;
  MPI_Comm_split(comm, take_part ? 0 : MPI_UNDEFINED, rank, &part);
  if (part == MPI_COMM_NULL) return nullptr;
  auto made = std::make_unique<Communicator>(part);
  MPI_Comm_free(&part);
  return made;
}

}  // namespace

// Two payloads in turn, so that the next may be written while the last is still read.
struct Cluster::Board {
  alignas(64) Doorbell bell;
  alignas(64) std::byte payload[2][kPayload];
};

Cluster::Cluster(Communicator& comm, bool shared_memory, Patience patience)
    : comm_(comm),
      rank_(comm.rank()),
      cores_(static_cast<int>(std::max(1L, sysconf(_SC_NPROCESSORS_ONLN)))),
      looks_(kLooks),
      deadline_(patience.deadline) {
  if (patience.survive && comm.size() > 1) {
    star_ = std::make_unique<Star>(comm, patience.deadline);
    leads_ = true;
    nodes_ = comm.size();
    return;
  }
  if (shared_memory && comm.size() > 1) {
    MPI_Comm node;
    MPI_Comm_split_type(comm.handle(), MPI_COMM_TYPE_SHARED, comm.rank(), MPI_INFO_NULL, &node);
    node_ = std::make_unique<Communicator>(node);
    MPI_Comm_free(&node);
    member_ = node_->rank();
    members_ = node_->size();
  }
  if (members_ > cores_) looks_ = kLooksInACrowd;
  leads_ = member_ == 0;
  leaders_ = split(comm.handle(), leads_, comm.rank());
  if (leads_) {
    nodes_ = leaders_->size();
    // Another node's leader may itself be waiting for a member, which it shall name first.
    leaders_->set_patience(1.25 * deadline_);
    leader_ranks_ = leaders_->gather(std::span<const int>(&rank_, 1));
    senders_ = split(leaders_->handle(), !is_root(), comm.rank());
    if (senders_) senders_->set_patience(1.25 * deadline_);
  }
  ranks_.assign(static_cast<std::size_t>(members_), comm.rank());
  if (members_ == 1) return;

  std::array<std::int32_t, 2> here = {comm.rank(), nodes_};
  const std::vector<std::int32_t> all = node_->gather(std::span<const std::int32_t>(here));
  for (std::size_t m = 0; 2 * m < all.size(); ++m) ranks_[m] = all[2 * m];
  node_->broadcast_struct(here);
  nodes_ = here[1];
  memory_ = std::make_unique<SharedMemory>(*this, 2 * sizeof(Board));
  for (int m = 0; m < members_; ++m) {
    std::byte* at = memory_->segment(m).data();
    boards_.push_back(m == member_ ? new (at) Board{} : reinterpret_cast<Board*>(at));
  }
  notice_ = reinterpret_cast<Board*>(memory_->segment(0).data() + sizeof(Board));
  if (leads_) new (notice_) Board{};
  std::int32_t made = 1;
  node_->all_sum(std::span(&made, 1));
}

Cluster::~Cluster() = default;

void Cluster::abandon_lost(int exit_code, bool at_once) {
  comm_.abandon();
  if (at_once || (comm_.is_root() && star_->lost_elsewhere())) MPI_Abort(comm_.handle(), exit_code);
}

// The first of the senders gathers the sum and passes it on.
void Cluster::send_sum(std::span<std::int64_t> block) {
  if (star_) return star_->reduce_sum(block);
  between_nodes([&] {
    senders_->reduce_sum(block);
    leaders_->finish(sent_);
    if (senders_->is_root()) sent_ = leaders_->send(std::span<const std::int64_t>(block), 0);
  });
}

void Cluster::finish_sum() {
  if (!star_) between_nodes([&] { leaders_->finish(sent_); });
}

void Cluster::receive_sum(std::span<std::int64_t> block) {
  if (!star_) return between_nodes([&] { leaders_->receive(block, 1); });
  std::fill(block.begin(), block.end(), 0);
  star_->reduce_sum(block);
}

// Every leader that waits says so to rank 0, so that it knows who does not.
void Cluster::name_late_leaders() {
  const Polling polling;
  const double time = std::min(1.0, deadline_);
  if (!is_root()) {
    MPI_Request said;
    MPI_Isend(&rank_, 1, MPI_INT, 0, kWaiting, leaders_->handle(), &said);
    while (polling.seconds() < 2 * time) polling.pause();  // rank 0 ends the job meanwhile
    fail(ExitCode::stopped, "rank 0 did not end the job that another rank keeps waiting");
  }
  std::vector<int> ranks(static_cast<std::size_t>(nodes_), -1), late;
  std::vector<MPI_Request> said(ranks.size(), MPI_REQUEST_NULL);
  for (std::size_t n = 1; n < ranks.size(); ++n)
    MPI_Irecv(&ranks[n], 1, MPI_INT, static_cast<int>(n), kWaiting, leaders_->handle(), &said[n]);
  for (int all = 0; all == 0 && polling.seconds() < time; polling.pause())
    MPI_Testall(nodes_, said.data(), &all, MPI_STATUSES_IGNORE);
  for (std::size_t n = 1; n < ranks.size(); ++n)
    if (ranks[n] < 0) late.push_back(leader_ranks_[n]);
  fail_for(late);
}

void Cluster::fail_for(const std::vector<int>& late) const {
  fail(ExitCode::stopped, "no answer from rank {} for {:g} s (federation.deadline)", fmt::join(late, ", "), deadline_);
}

const void* Cluster::said_by(int member) const {
  return boards_[static_cast<std::size_t>(member)]->payload[arrivals_ % 2];
}

void Cluster::arrive(const void* data, std::size_t bytes) {
  if (members_ == 1) return;
  ++arrivals_;
  unseen_ = 0;
  if (!leads_) {
    Board& mine = *boards_[static_cast<std::size_t>(member_)];
    if (bytes > 0) std::memcpy(mine.payload[arrivals_ % 2], data, bytes);
    mine.bell.ring();
    return;
  }
  const auto patience =
      std::chrono::duration_cast<std::chrono::steady_clock::duration>(std::chrono::duration<double>(deadline_));
  const Doorbell::Time deadline = deadline_ > 0 ? std::chrono::steady_clock::now() + patience : Doorbell::Time::max();
  std::vector<int> absent;
  for (std::size_t m = 1; m < boards_.size(); ++m)
    if (!boards_[m]->bell.wait(arrivals_, looks_, deadline)) absent.push_back(ranks_[m]);
  if (!absent.empty()) fail_for(absent);
}

void Cluster::release(void* data, std::size_t bytes) {
  if (members_ == 1) return;
  if (unseen_ == 2) arrive();  // nobody may still read the payload that comes next
  ++releases_;
  ++unseen_;
  if (leads_) {
    if (bytes > 0) std::memcpy(notice_->payload[releases_ % 2], data, bytes);
    notice_->bell.ring();
  } else {
    notice_->bell.wait(releases_, looks_);
    if (bytes > 0) std::memcpy(data, notice_->payload[releases_ % 2], bytes);
  }
}

}  // namespace fedmpi::mpi
