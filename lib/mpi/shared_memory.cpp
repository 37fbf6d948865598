#include "mpi/shared_memory.hpp"

#include <sys/statvfs.h>
#include <unistd.h>

#include <cstdlib>
#include <exception>
#include <new>
#include <string>
#include <utility>

#include "base/error.hpp"
#include "base/pages.hpp"
#include "base/vector.hpp"

namespace fedmpi::mpi {

namespace {

std::size_t up_to(std::size_t multiple, std::size_t n) { return (n + multiple - 1) / multiple * multiple; }

std::size_t page_size() { return static_cast<std::size_t>(sysconf(_SC_PAGESIZE)); }

// Where MPI keeps the memory of its windows.
std::string directory_of_windows() {
  const char* asked_for = std::getenv("OMPI_MCA_osc_sm_backing_directory");
  return asked_for != nullptr ? asked_for : "/dev/shm";
}

// Bytes that the ranks of this node may share now. MPI keeps them in files; what these cannot hold is found when it is
// touched, and kills.
std::uint64_t free_bytes() {
  struct statvfs found {};
  if (statvfs(directory_of_windows().c_str(), &found) != 0) return UINT64_MAX;  // MPI will say so
  return std::uint64_t{found.f_bavail} * found.f_frsize;
}

[[noreturn]] void refuse(std::size_t bytes) {
  fail(ExitCode::io,
       "shared memory: the system does not grant {} bytes to a rank; --run.shared-memory off does without", bytes);
}

std::span<std::byte> plain_memory(std::size_t bytes) {
  if (bytes == 0) return {};
  try {
    return {static_cast<std::byte*>(map_pages(bytes)), bytes};
  } catch (const std::bad_alloc&) {
    refuse(bytes);
  }
}

}  // namespace

NodeMemory::NodeMemory(std::unique_ptr<Communicator> members) : members_(std::move(members)) {
  if (members_->is_root()) room_ = free_bytes();
}

// MPI wants a twentieth more than it takes.
std::uint64_t NodeMemory::needed_for(std::size_t mine) {
  std::uint64_t needed = up_to(page_size(), mine + kAlignment) + page_size();
  members_->all_sum(std::span(&needed, 1));
  return needed + needed / 20 + page_size();
}

void NodeMemory::take(std::uint64_t bytes) {
  taken_ += bytes;
  const bool in_all = taken_ > room_;
  const std::uint64_t now = free_bytes();
  if (!in_all && bytes <= now) return;
  fail(ExitCode::io,
       "shared memory: expected at least {} MiB free in {} for {} ranks, found {} MiB: make room, or use "
       "--run.shared-memory off",
       ((in_all ? taken_ : bytes) >> 20) + 1, directory_of_windows(), members_->size(), (in_all ? room_ : now) >> 20);
}

// Where MPI finds too little, only the member that finds it returns: so it is looked for first.
SharedMemory::SharedMemory(Cluster& cluster, std::size_t bytes) {
  NodeMemory* node = cluster.memory();
  const std::uint64_t needed = node != nullptr ? node->needed_for(bytes) : 0;
  cluster.collectively([&] {
    if (node == nullptr)
      segments_.push_back(plain_memory(bytes));
    else if (cluster.leads())
      node->take(needed);
  });
  if (node != nullptr) share(node->members(), bytes);
}

void SharedMemory::share(Communicator& members, std::size_t bytes) {
  MPI_Info info;
  MPI_Info_create(&info);
  MPI_Info_set(info, "alloc_shared_noncontig", "true");  // each segment near the member that writes it
  void* base = nullptr;
  const int result =
      MPI_Win_allocate_shared(static_cast<MPI_Aint>(bytes + kAlignment), 1, info, members.handle(), &base, &window_);
  MPI_Info_free(&info);
  std::int32_t failed = result == MPI_SUCCESS ? 0 : 1;
  members.all_max(std::span(&failed, 1));
  if (failed != 0) refuse(bytes);
  const std::uint64_t mine = bytes;  // MPI rounds up what it tells of the others
  std::vector<std::uint64_t> sizes = members.gather(std::span(&mine, 1));
  sizes.resize(static_cast<std::size_t>(members.size()));
  members.broadcast(std::span(sizes));
  for (int m = 0; m < members.size(); ++m) {
    MPI_Aint rounded = 0;
    int unit = 1;
    MPI_Win_shared_query(window_, m, &rounded, &unit, &base);
    const std::uintptr_t at = reinterpret_cast<std::uintptr_t>(base);
    segments_.emplace_back(static_cast<std::byte*>(base) + (up_to(kAlignment, at) - at),
                           sizes[static_cast<std::size_t>(m)]);
  }
}

SharedMemory::~SharedMemory() {
  if (segments_.size() == 1) {
    if (!segments_[0].empty()) unmap_pages(segments_[0].data(), segments_[0].size());
    return;
  }
  int finalized = 0;
  MPI_Finalized(&finalized);
  // While an exception unwinds the others may be in another call: freeing, which is collective, could hang.
  if (finalized == 0 && window_ != MPI_WIN_NULL && std::uncaught_exceptions() == 0) MPI_Win_free(&window_);
}

}  // namespace fedmpi::mpi
