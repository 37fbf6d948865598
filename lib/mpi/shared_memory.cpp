#include "mpi/shared_memory.hpp"

#include <cstdint>
#include <exception>
#include <new>

#include "base/error.hpp"
#include "base/pages.hpp"
#include "base/vector.hpp"

namespace fedmpi::mpi {

namespace {

std::size_t up_to_alignment(std::size_t n) { return (n + kAlignment - 1) / kAlignment * kAlignment; }

[[noreturn]] void refuse(std::size_t bytes) {
  fail(ExitCode::io,
       "shared memory: the system does not grant {} bytes to a rank; --run.shared-memory off does without", bytes);
}

}  // namespace

SharedMemory::SharedMemory(Cluster& cluster, std::size_t bytes) {
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
    segments_.emplace_back(static_cast<std::byte*>(base) + (up_to_alignment(at) - at),
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
