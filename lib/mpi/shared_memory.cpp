#include "mpi/shared_memory.hpp"

#include <sys/statvfs.h>
#include <unistd.h>

#include <cstdint>
#include <cstdlib>
#include <exception>
#include <new>
#include <string>

#include "base/error.hpp"
#include "base/pages.hpp"
#include "base/vector.hpp"

namespace fedmpi::mpi {

namespace {

std::size_t up_to(std::size_t multiple, std::size_t n) { return (n + multiple - 1) / multiple * multiple; }

// Where MPI keeps the memory of its windows.
std::string directory_of_windows() {
  const char* asked_for = std::getenv("OMPI_MCA_osc_sm_backing_directory");
  return asked_for != nullptr ? asked_for : "/dev/shm";
}

[[noreturn]] void refuse(std::size_t bytes) {
  fail(ExitCode::io,
       "shared memory: the system does not grant {} bytes to a rank; --run.shared-memory off does without", bytes);
}

}  // namespace

std::uint64_t SharedMemory::free() {
  struct statvfs found {};
  if (statvfs(directory_of_windows().c_str(), &found) != 0) return UINT64_MAX;  // MPI will say so
  return std::uint64_t{found.f_bavail} * found.f_frsize;
}

// Where MPI finds too little, only the member that finds it returns. It wants a twentieth more than it takes.
void SharedMemory::take_room(Cluster& cluster, std::size_t bytes) {
  const auto page = static_cast<std::size_t>(sysconf(_SC_PAGESIZE));
  std::uint64_t wanted = 0;
  if (cluster.members() > 1) {
    wanted = up_to(page, bytes + kAlignment) + page;
    cluster.node_->all_sum(std::span(&wanted, 1));
    wanted += wanted / 20 + page;
  }
  collectively(cluster.comm_, [&] {
    if (wanted == 0 || !cluster.leads()) return;
    cluster.taken_ += wanted;
    const bool in_all = cluster.taken_ > cluster.room_;
    const std::uint64_t now = free();
    if (!in_all && wanted <= now) return;
    fail(ExitCode::io,
         "shared memory: expected at least {} MiB free in {} for {} ranks, found {} MiB: make room, or use "
         "--run.shared-memory off",
         ((in_all ? cluster.taken_ : wanted) >> 20) + 1, directory_of_windows(), cluster.members(),
         (in_all ? cluster.room_ : now) >> 20);
  });
}

SharedMemory::SharedMemory(Cluster& cluster, std::size_t bytes) {
  take_room(cluster, bytes);
  if (cluster.members() == 1) {
    if (bytes == 0) {
      segments_.emplace_back();
      return;
    }
    try {
      segments_.emplace_back(static_cast<std::byte*>(map_pages(bytes)), bytes);
    } catch (const std::bad_alloc&) {
      refuse(bytes);
    }
    return;
  }
  MPI_Info info;
  MPI_Info_create(&info);
  MPI_Info_set(info, "alloc_shared_noncontig", "true");  // each segment near the member that writes it
  void* base = nullptr;
  const int result = MPI_Win_allocate_shared(static_cast<MPI_Aint>(bytes + kAlignment), 1, info,
                                             cluster.node_->handle(), &base, &window_);
  MPI_Info_free(&info);
  std::int32_t failed = result == MPI_SUCCESS ? 0 : 1;
  cluster.node_->all_max(std::span(&failed, 1));
  if (failed != 0) refuse(bytes);
  const std::uint64_t mine = bytes;  // MPI rounds up what it tells of the others
  std::vector<std::uint64_t> sizes = cluster.node_->gather(std::span(&mine, 1));
  sizes.resize(static_cast<std::size_t>(cluster.members()));
  cluster.node_->broadcast(std::span(sizes));
  for (int m = 0; m < cluster.members(); ++m) {
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
