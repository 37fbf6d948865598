#include "mpi/levels.hpp"

#include <unistd.h>

#include <algorithm>
#include <chrono>
#include <new>
#include <utility>

#include "mpi/lifeline.hpp"

namespace fedmpi::mpi {

namespace {

// How often to look for another's answer before giving the core away: for about as long as the other's part of a small
// exchange takes; or, where members outnumber cores, once, since the other may be waiting for this very core.
constexpr int kLooks = 200, kLooksInACrowd = 1;

// How often a rank that waits for another in shared memory looks whether rank 0 calls the roll.
constexpr auto kBetweenLooksAtRoll = std::chrono::milliseconds(20);

// The ranks that take part, as members of one communicator; null on the others.
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
struct Levels::Board {
  alignas(64) Doorbell bell;
  alignas(64) std::byte payload[2][kPayload];
};

Levels::Levels(Communicator& comm, std::unique_ptr<Communicator> node, const Patience& patience) : comm_(comm) {
  seat_.root = comm.is_root();
  seat_.cores = static_cast<int>(std::max(1L, sysconf(_SC_NPROCESSORS_ONLN)));
  if (node) {
    seat_.member = node->rank();
    seat_.members = node->size();
  }
  if (patience.deadline > 0 && comm.size() > 1) {
    roll_call_ = std::make_unique<RollCall>(comm, RollCall::Times{patience.deadline, patience.to_answer});
    comm_.set_roll_call(roll_call_.get());
  }
  leaders_ = split(comm.handle(), leads(), comm.rank());
  if (leads()) {
    seat_.nodes = leaders_->size();
    leaders_->set_roll_call(roll_call_.get());
    senders_ = split(leaders_->handle(), !is_root(), comm.rank());
    if (senders_) senders_->set_roll_call(roll_call_.get());
  }
  if (members() > 1) {
    node->broadcast_struct(seat_.nodes);
    node->broadcast_struct(seat_.cores);
    node_.emplace(std::move(node));
  }
  looks_ = members() > cores() ? kLooksInACrowd : kLooks;
  segments_.emplace(*this, members() > 1 ? 2 * sizeof(Board) : 0);
  if (members() > 1) make_boards();
}

void Levels::make_boards() {
  for (int m = 0; m < members(); ++m) {
    std::byte* at = segments_->segment(m).data();
    boards_.push_back(m == member() ? new (at) Board{} : reinterpret_cast<Board*>(at));
  }
  notice_ = reinterpret_cast<Board*>(segments_->segment(0).data() + sizeof(Board));
  if (leads()) new (notice_) Board{};
  std::int32_t made = 1;
  node_->members().all_sum(std::span(&made, 1));
}

void Levels::rounds_begin() {
  if (is_root() && comm_.lifeline() != nullptr) comm_.lifeline()->expect_signs_of_life(false);
}

void Levels::rounds_end() {
  if (comm_.lifeline() != nullptr) comm_.lifeline()->expect_signs_of_life(true);
}

void Levels::broadcast_bytes(std::span<std::byte> value, std::span<float> vector) {
  if (leads() && nodes() > 1) {
    leaders_->broadcast_bytes(value);
    leaders_->broadcast(vector);
  }
  release(value);
}

void Levels::merge_bytes(std::span<std::byte> value, MPI_User_function* merge, int /*deadlines*/) {
  arrive(value);
  if (leads()) {
    int one = 1;
    for (std::size_t m = 1; m < boards_.size(); ++m)
      merge(boards_[m]->payload[arrivals_ % 2], value.data(), &one, nullptr);
    if (nodes() > 1) leaders_->all_merge(value, merge);
  }
  release(value);
}

// The first of the senders gathers the sum and passes it on.
void Levels::send_sum(std::span<std::int64_t> block) {
  senders_->reduce_sum(block);
  leaders_->finish(sent_);
  if (senders_->is_root()) sent_ = leaders_->send(std::span<const std::int64_t>(block), 0);
}

void Levels::receive_sum(std::span<std::int64_t> block) {
  MPI_Request sum = leaders_->expect(block, 1);
  leaders_->finish(sum);
  sums_.up += static_cast<std::uint64_t>(nodes() - 1) * block.size_bytes();
}

Traffic Levels::take_traffic() {
  Traffic all = std::exchange(sums_, {});
  all += comm_.take_traffic();
  if (leads()) all += leaders_->take_traffic();
  return all;
}

void Levels::wait(Doorbell& bell, std::uint32_t count, std::optional<Polling>& waiting) const {
  if (!roll_call_) {
    bell.wait(count, looks_);
    return;
  }
  if (!waiting) waiting.emplace();
  while (!bell.wait(count, looks_, std::chrono::steady_clock::now() + kBetweenLooksAtRoll))
    roll_call_->meanwhile(*waiting);
}

void Levels::arrive(std::span<const std::byte> said) {
  if (members() == 1) return;
  ++arrivals_;
  unseen_ = 0;
  if (!leads()) {
    Board& mine = *boards_[static_cast<std::size_t>(member())];
    std::copy(said.begin(), said.end(), mine.payload[arrivals_ % 2]);
    mine.bell.ring();
    return;
  }
  std::optional<Polling> waiting;  // for all of them together
  for (std::size_t m = 1; m < boards_.size(); ++m) wait(boards_[m]->bell, arrivals_, waiting);
}

void Levels::release(std::span<std::byte> said) {
  if (members() == 1) return;
  if (unseen_ == 2) arrive();  // nobody may still read the payload that comes next
  ++releases_;
  ++unseen_;
  if (leads()) {
    std::copy(said.begin(), said.end(), notice_->payload[releases_ % 2]);
    notice_->bell.ring();
  } else {
    std::optional<Polling> waiting;
    wait(notice_->bell, releases_, waiting);
    std::copy_n(notice_->payload[releases_ % 2], said.size(), said.begin());
  }
}

}  // namespace fedmpi::mpi
