#include "mpi/cluster.hpp"

#include <unistd.h>

#include <algorithm>
#include <exception>
#include <new>
#include <utility>

#include "mpi/lifeline.hpp"
#include "mpi/roll_call.hpp"
#include "mpi/shared_memory.hpp"

namespace fedmpi::mpi {

namespace {

// How often to look for another's answer before giving the core away: for about as long as the other's part of a small
// exchange takes; or, where members outnumber cores, once, since the other may be waiting for this very core.
constexpr int kLooks = 200, kLooksInACrowd = 1;

// How often a rank that waits for another in shared memory looks whether rank 0 calls the roll.
constexpr auto kBetweenLooksAtRoll = std::chrono::milliseconds(20);

// The ranks that share this one's memory.
std::unique_ptr<Communicator> those_here(Communicator& comm) {
  MPI_Comm node;
  MPI_Comm_split_type(comm.handle(), MPI_COMM_TYPE_SHARED, comm.rank(), MPI_INFO_NULL, &node);
  auto made = std::make_unique<Communicator>(node);
  MPI_Comm_free(&node);
  return made;
}

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
    : Cluster(comm, shared_memory && comm.size() > 1 && !patience.survive ? those_here(comm) : nullptr, patience) {}

Cluster::Cluster(Communicator& comm, std::unique_ptr<Communicator> node, Patience patience)
    : comm_(comm),
      node_(std::move(node)),
      cores_(static_cast<int>(std::max(1L, sysconf(_SC_NPROCESSORS_ONLN)))),
      looks_(kLooks) {
  if (patience.survive && comm.size() > 1) {
    star_ = std::make_unique<Star>(comm, patience.deadline);
    leads_ = true;
    nodes_ = comm.size();
    return;
  }
  if (node_) {
    member_ = node_->rank();
    members_ = node_->size();
  }
  if (patience.deadline > 0 && comm.size() > 1) {
    roll_call_ = std::make_unique<RollCall>(comm, patience.deadline);
    comm_.set_roll_call(roll_call_.get());
  }
  leads_ = member_ == 0;
  leaders_ = split(comm.handle(), leads_, comm.rank());
  if (leads_) {
    nodes_ = leaders_->size();
    leaders_->set_roll_call(roll_call_.get());
    senders_ = split(leaders_->handle(), !is_root(), comm.rank());
    if (senders_) senders_->set_roll_call(roll_call_.get());
  }
  if (leads_ && members_ > 1) room_ = SharedMemory::free();
  memory_ = std::make_unique<SharedMemory>(*this, members_ > 1 ? 2 * sizeof(Board) : 0);
  if (members_ == 1) return;

  node_->broadcast_struct(nodes_);
  node_->broadcast_struct(cores_);
  if (members_ > cores_) looks_ = kLooksInACrowd;
  for (int m = 0; m < members_; ++m) {
    std::byte* at = memory_->segment(m).data();
    boards_.push_back(m == member_ ? new (at) Board{} : reinterpret_cast<Board*>(at));
  }
  notice_ = reinterpret_cast<Board*>(memory_->segment(0).data() + sizeof(Board));
  if (leads_) new (notice_) Board{};
  std::int32_t made = 1;
  node_->all_sum(std::span(&made, 1));
}

Cluster::~Cluster() {
  comm_.set_roll_call(nullptr);
  // With an error of its own rank 0 is about to leave by itself.
  if (is_root() && comm_.lifeline() != nullptr && !comm_.abandoned() && std::uncaught_exceptions() == 0)
    comm_.lifeline()->outlive_participants(false);
}

void Cluster::rounds_begin() {
  if (!is_root() || comm_.lifeline() == nullptr) return;
  comm_.lifeline()->expect_signs_of_life(false);
  if (star_) comm_.lifeline()->outlive_participants(true);
}

void Cluster::rounds_end() {
  if (comm_.lifeline() != nullptr && !star_) comm_.lifeline()->expect_signs_of_life(true);
}

void Cluster::look_for_lost() {
  if (!star_ || !is_root() || comm_.lifeline() == nullptr) return;
  for (const int rank : comm_.lifeline()->lost()) star_->leave_out(rank);
}

void Cluster::abandon_lost(int exit_code, bool others_wait) {
  const bool end_job = others_wait || (comm_.is_root() && star_->lost_elsewhere());
  comm_.abandon(end_job ? std::optional(exit_code) : std::nullopt);
}

// The first of the senders gathers the sum and passes it on.
void Cluster::send_sum(std::span<std::int64_t> block) {
  if (star_) return star_->reduce_sum(block);
  senders_->reduce_sum(block);
  leaders_->finish(sent_);
  if (senders_->is_root()) sent_ = leaders_->send(std::span<const std::int64_t>(block), 0);
}

void Cluster::finish_sum() {
  if (!star_) leaders_->finish(sent_);
}

void Cluster::receive_sum(std::span<std::int64_t> block) {
  if (!star_) {
    MPI_Request sum = leaders_->expect(block, 1);
    return leaders_->finish(sum);
  }
  std::fill(block.begin(), block.end(), 0);
  star_->reduce_sum(block);
}

void Cluster::wait(Doorbell& bell, std::uint32_t count, std::optional<Polling>& waiting) const {
  if (!roll_call_) {
    bell.wait(count, looks_);
    return;
  }
  if (!waiting) waiting.emplace();
  while (!bell.wait(count, looks_, std::chrono::steady_clock::now() + kBetweenLooksAtRoll))
    roll_call_->meanwhile(*waiting);
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
  std::optional<Polling> waiting;  // for all of them together
  for (std::size_t m = 1; m < boards_.size(); ++m) wait(boards_[m]->bell, arrivals_, waiting);
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
    std::optional<Polling> waiting;
    wait(notice_->bell, releases_, waiting);
    if (bytes > 0) std::memcpy(data, notice_->payload[releases_ % 2], bytes);
  }
}

}  // namespace fedmpi::mpi
