#include "mpi/communicator.hpp"

#include <algorithm>
#include <chrono>
#include <optional>

#include "mpi/collective_error.hpp"
#include "mpi/lifeline.hpp"
#include "mpi/polling.hpp"
#include "mpi/roll_call.hpp"

namespace fedmpi::mpi {

namespace {

constexpr std::size_t kBlock = std::size_t{1} << 26;  // elements per call: no count outgrows an int

}  // namespace

Communicator::Communicator(MPI_Comm comm) {
  MPI_Comm_dup(comm, &comm_);
  MPI_Comm_set_errhandler(comm_, MPI_ERRORS_RETURN);
  MPI_Comm_rank(comm_, &rank_);
  MPI_Comm_size(comm_, &size_);
}

Communicator::~Communicator() {
  int finalized = 0;
  MPI_Finalized(&finalized);
  // While an exception unwinds the others may be in another call: freeing, which is collective, could hang.
  if (finalized == 0 && !abandoned_ && std::uncaught_exceptions() == 0) MPI_Comm_free(&comm_);
}

void Communicator::check(int result, const char* call, Where where) const {
  if (result == MPI_SUCCESS) return;
  if (lifeline_ != nullptr) lifeline_->await_the_end();
  char text[MPI_MAX_ERROR_STRING];
  int length = 0;
  MPI_Error_string(result, text, &length);
  fail(ExitCode::io, "{} failed at {}:{}: {}", call, where.file_name(), where.line(),
       std::string_view(text, static_cast<std::size_t>(length)));
}

void Communicator::wait(MPI_Request& request, const char* call, Where where) const {
  Polling polling;
  for (int done = 0;; polling.pause()) {
    check(MPI_Test(&request, &done, MPI_STATUS_IGNORE), call, where);
    if (done != 0) return;
    if (roll_call_ != nullptr) roll_call_->meanwhile(polling);
  }
}

template <class Blocking, class Nonblocking>
void Communicator::complete(const char* call, Where where, Blocking blocking, Nonblocking nonblocking) const {
  if (roll_call_ == nullptr) return check(blocking(), call, where);
  MPI_Request request;
  check(nonblocking(&request), call, where);
  wait(request, call, where);
}

void Communicator::broadcast(void* data, std::size_t n, MPI_Datatype type, Where where) {
  if (size_ == 1) return;
  int bytes = 0;
  MPI_Type_size(type, &bytes);
  for (std::size_t first = 0; first < n; first += kBlock) {
    char* block = static_cast<char*>(data) + first * static_cast<std::size_t>(bytes);
    const int count = static_cast<int>(std::min(kBlock, n - first));
    complete(
        "MPI_Bcast", where, [&] { return MPI_Bcast(block, count, type, 0, comm_); },
        [&](MPI_Request* request) { return MPI_Ibcast(block, count, type, 0, comm_, request); });
  }
}

void Communicator::broadcast(std::string& text, Where where) {
  std::uint64_t n = text.size();
  broadcast_struct(n, where);
  text.resize(n);
  broadcast(text.data(), n, MPI_CHAR, where);
}

void Communicator::reduce(void* data, std::size_t n, MPI_Datatype type, MPI_Op op, Where where) {
  if (size_ == 1) return;
  int bytes = 0;
  MPI_Type_size(type, &bytes);
  for (std::size_t first = 0; first < n; first += kBlock) {
    char* block = static_cast<char*>(data) + first * static_cast<std::size_t>(bytes);
    const void* from = is_root() ? MPI_IN_PLACE : block;
    void* into = is_root() ? block : nullptr;
    const int count = static_cast<int>(std::min(kBlock, n - first));
    complete(
        "MPI_Reduce", where, [&] { return MPI_Reduce(from, into, count, type, op, 0, comm_); },
        [&](MPI_Request* request) { return MPI_Ireduce(from, into, count, type, op, 0, comm_, request); });
  }
}

MPI_Request Communicator::send(const void* data, std::size_t n, MPI_Datatype type, int to, Where where) {
  MPI_Request request;
  check(MPI_Isend(data, static_cast<int>(n), type, to, 0, comm_, &request), "MPI_Isend", where);
  return request;
}

MPI_Request Communicator::expect(void* data, std::size_t n, MPI_Datatype type, int from, Where where) {
  MPI_Request request;
  check(MPI_Irecv(data, static_cast<int>(n), type, from, 0, comm_, &request), "MPI_Irecv", where);
  return request;
}

void Communicator::complete(MPI_Request& message, Where where) const {
  if (roll_call_ == nullptr)
    check(MPI_Wait(&message, MPI_STATUS_IGNORE), "MPI_Wait", where);
  else
    wait(message, "MPI_Wait", where);
}

void Communicator::all_reduce(void* data, std::size_t n, MPI_Datatype type, MPI_Op op, Where where) {
  if (size_ == 1) return;
  int bytes = 0;
  MPI_Type_size(type, &bytes);
  for (std::size_t first = 0; first < n; first += kBlock) {
    MPI_Request request;
    check(MPI_Iallreduce(MPI_IN_PLACE, static_cast<char*>(data) + first * static_cast<std::size_t>(bytes),
                         static_cast<int>(std::min(kBlock, n - first)), type, op, comm_, &request),
          "MPI_Iallreduce", where);
    wait(request, "MPI_Iallreduce", where);
  }
}

void Communicator::all_merge(std::span<std::byte> value, MPI_User_function* merge, Where where) {
  if (size_ == 1) return;
  MPI_Datatype type;
  MPI_Op op;
  check(MPI_Type_contiguous(static_cast<int>(value.size()), MPI_BYTE, &type), "MPI_Type_contiguous", where);
  check(MPI_Type_commit(&type), "MPI_Type_commit", where);
  check(MPI_Op_create(merge, 1, &op), "MPI_Op_create", where);
  MPI_Request request;
  check(MPI_Iallreduce(MPI_IN_PLACE, value.data(), 1, type, op, comm_, &request), "MPI_Iallreduce", where);
  wait(request, "MPI_Iallreduce", where);
  MPI_Op_free(&op);
  MPI_Type_free(&type);
}

std::vector<int> Communicator::gather_counts(std::size_t n, Where where) {
  std::vector<int> counts(is_root() ? static_cast<std::size_t>(size_) : 0);
  const int count = static_cast<int>(n);
  complete(
      "MPI_Gather", where, [&] { return MPI_Gather(&count, 1, MPI_INT, counts.data(), 1, MPI_INT, 0, comm_); },
      [&](MPI_Request* request) {
        return MPI_Igather(&count, 1, MPI_INT, counts.data(), 1, MPI_INT, 0, comm_, request);
      });
  return counts;
}

void Communicator::gather(const void* data, std::size_t n, MPI_Datatype type, void* all, const std::vector<int>& counts,
                          Where where) {
  std::vector<int> offsets(counts.size(), 0);
  for (std::size_t r = 1; r < counts.size(); ++r) offsets[r] = offsets[r - 1] + counts[r - 1];
  const int count = static_cast<int>(n);
  complete(
      "MPI_Gatherv", where,
      [&] { return MPI_Gatherv(data, count, type, all, counts.data(), offsets.data(), type, 0, comm_); },
      [&](MPI_Request* request) {
        return MPI_Igatherv(data, count, type, all, counts.data(), offsets.data(), type, 0, comm_, request);
      });
}

std::vector<std::string> Communicator::gather(const std::string& text, Where where) {
  const std::vector<int> counts = gather_counts(text.size(), where);
  std::string all;
  for (const int c : counts) all.resize(all.size() + static_cast<std::size_t>(c));
  gather(text.data(), text.size(), MPI_CHAR, all.data(), counts, where);
  std::vector<std::string> texts;
  std::size_t begin = 0;
  for (const int c : counts) {
    texts.push_back(all.substr(begin, static_cast<std::size_t>(c)));
    begin += static_cast<std::size_t>(c);
  }
  return texts;
}

void collectively(Communicator& comm, const std::function<void()>& work) {
  std::int32_t code = 0;
  std::string problem;
  try {
    work();
  } catch (const std::exception& thrown) {
    const Error error = explained(thrown);
    code = static_cast<std::int32_t>(error.code());
    problem = error.what();
  }
  comm.all_max(std::span(&code, 1));
  if (code == 0) return;
  // The same sentence from several ranks, about a file that all of them read, is said once.
  std::vector<std::string> sentences;
  const std::vector<std::string> problems = comm.gather(problem);
  for (std::size_t r = 0; r < problems.size(); ++r) {
    const bool said = std::any_of(problems.begin(), problems.begin() + static_cast<std::ptrdiff_t>(r),
                                  [&](const std::string& p) { return p == problems[r]; });
    if (!problems[r].empty() && !said) sentences.push_back(fmt::format("rank {}: {}", r, problems[r]));
  }
  std::string message = fmt::format("{}", fmt::join(sentences, "\n"));
  comm.broadcast(message);
  throw CollectiveError(static_cast<ExitCode>(code), message);
}

}  // namespace fedmpi::mpi
