#pragma once

#include <sublet/export.hpp>
#include <sublet/mpi_call.hpp>
#include <sublet/sublet.hpp>

#include <mpi.h>

#include <chrono>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <span>
#include <string>

namespace sublet::mpi {

struct AllocatorOptions {
  SessionOptions session{};
  /// Workers each rank gets for itself.
  std::uint32_t workers_per_rank = 1;
  /// Threads of each rank that offload. Each gets a lease of its own, which it uses without regard
  /// to the others; workers and memory of the rank are shared out equally among them.
  std::uint32_t threads_per_rank = 1;
  std::uint64_t memory_bytes_per_rank = std::uint64_t{256} << 20;
  std::chrono::seconds duration{3600};
  Placement placement = Placement::kNear;
  std::chrono::milliseconds hot_timeout{-1};
  std::uint64_t arena_bytes = std::uint64_t{1} << 30;
  /// As LeaseRequest::worker_wait. An application that can do the work itself waits less.
  std::chrono::milliseconds worker_wait{30'000};
  /// As LeaseRequest::cores_per_worker.
  std::uint32_t cores_per_worker = 1;
  /// As LeaseRequest::gpus_per_worker. A rank, or thread, with one worker has an executor of its
  /// own, whose functions see that worker's GPUs alone.
  std::uint32_t gpus_per_worker = 0;
  /// As LeaseRequest::wait: rank 0 asks for all of them, and all ranks wait.
  std::chrono::milliseconds wait{0};
  /// As LeaseRequest::priority.
  std::int32_t priority = 0;
  /// As LeaseRequest::notice.
  std::chrono::milliseconds notice{5000};
};

/// Leases workers for all ranks of a communicator and connects each rank to its own.
///
///   MPI_Init(&argc, &argv);
///   auto workers = sublet::mpi::Allocator::create(MPI_COMM_WORLD).value_or_throw();
///   auto scale = workers.lease().function("libwork.so", "scale").value_or_throw();
///
/// Collective: create() is called by every rank of the communicator with equal options (the
/// session's aside; of the others rank 0's count). Rank 0 asks the resource manager once, the
/// grants are scattered, each rank connects its own channels; a failure anywhere becomes the same
/// error on every rank, and the application may go on without workers or ask again for less.
///
/// Without a running resource manager rank 0 starts a private one, or uses the one that its job has
/// on its node already. It offers the cores of that node that the launcher of the job may use
/// (SessionOptions::private_cpuset overrides that), those that ranks are bound to last.
///
/// All of Sublet's messages travel on a duplicate of the communicator, made by the first create()
/// on it and freed with it: they never match a receive of the application's. That duplicate is made
/// under the application's own error handler; on it MPI errors are returned and become Errors.
///
/// The lease is released when the last handle goes, by release(), when the communicator is freed,
/// or in MPI_Finalize, whichever comes first; after that calls end with Status::kClosed, and a
/// handle may safely outlive MPI. Each rank ends its own part: a private manager ends with the last
/// rank that uses it.
///
/// Thread rule: as for Lease; with threads_per_rank, thread i uses lease(i). Any thread level of
/// MPI will do: MPI is only called by the thread that calls create(), write_trace(), usage(),
/// MPI_Comm_free or MPI_Finalize, and by those that use calls with datatypes.
class SUBLET_API Allocator {
 public:
  Allocator() = default;

  /// Session options that are left at their defaults are taken from file and environment. kInvalid
  /// when MPI is not initialised or has been finalised, and for MPI_COMM_NULL and
  /// intercommunicators.
  static Result<Allocator> create(MPI_Comm comm, const AllocatorOptions& options);
  static Result<Allocator> create(MPI_Comm comm);

  /// The workers of this rank's thread number `thread`. Throws Error when the Allocator is empty,
  /// or when there is no such thread (AllocatorOptions::threads_per_rank).
  [[nodiscard]] Lease& lease(std::size_t thread = 0);
  /// This rank's session; rank 0's knows the resource manager, the others' are detached.
  [[nodiscard]] Session& session();

  /// A call of `function`, which is of one of these leases, with data that MPI datatypes describe.
  /// Local. kInvalid: data or datatypes are at fault. kOverloaded: the arena has no room for what
  /// is to be packed.
  Result<PersistentCall> persistent_call(const Function& function, const Input& in,
                                         const Output& out);

  /// The same, started and waited for once. The text of a call that failed is the error.
  Result<Reply> call(const Function& function, const Input& in, const Output& out);

  /// Collective over the communicator: one timeline of all ranks, written by rank 0. The same
  /// result on every rank.
  Result<void> write_trace(const std::string& path);

  /// Collective over the communicator: what all ranks' leases have consumed so far. The same result
  /// on every rank; kInvalid when one of them has released its workers.
  Result<Usage> usage();

  /// This rank's part only; not collective. Idempotent.
  void release();

  [[nodiscard]] bool valid() const noexcept { return state_ != nullptr; }

 private:
  struct State;
  explicit Allocator(std::shared_ptr<State> state) : state_(std::move(state)) {}
  [[nodiscard]] Result<void> check_open(const char* attempted) const;
  std::shared_ptr<State> state_;
};

// ---- Calls where MPI waits ----

/// An MPI request that is complete when `call` has ended, for MPI_Wait, MPI_Waitall, MPI_Test and
/// their kin, together with messages:
///
///   MPI_Request both[2];
///   MPI_Irecv(halo, n, MPI_DOUBLE, left, 0, comm, &both[0]);
///   both[1] = sublet::mpi::request(price.async(in, out)).value_or_throw();
///   MPI_Waitall(2, both, MPI_STATUSES_IGNORE);
///
/// `call` is empty afterwards; when this fails, it is as before. The end is told by `*reply`, which
/// like input and output must stay valid until then, and by MPI's status: MPI_Get_elements with
/// MPI_BYTE is the size of the output. A call that has ended badly is an error of the wait, of the
/// class that stands for its status in <sublet_mpi.h>; sublet_last_error() is its text then.
///
/// MPI_Request_free leaves the call running. MPI_Cancel fails: calls are not cancelled. A call
/// whose lease ends first, with its communicator or in MPI_Finalize, completes with
/// Status::kClosed.
///
/// How MPI learns of the end, and what it costs, depends on the MPI: docs/how-to/wait.md. kInvalid
/// when `call` is empty, before MPI_Init and after MPI_Finalize. kUnsupported with an MPI that is
/// neither Open MPI nor MPICH and has no MPI_THREAD_MULTIPLE: waitall() does without.
///
/// Thread rule: the thread that uses the lease. With MPI_THREAD_SERIALIZED and above the lease is
/// shared then (Call::share_lease), so that whichever thread is in MPI may complete the request.
[[nodiscard]] SUBLET_API Result<MPI_Request> request(Call&& call, Reply* reply = nullptr);

/// Waits for calls and for MPI requests at once, whatever MPI it is, at the cost of a native wait
/// when there are no requests. How calls have ended Call::wait() says, which returns at once then.
/// Errors are MPI's own, those of the requests; then calls may still be under way. As MPI_Waitall,
/// `statuses` has room for all requests, or is MPI_STATUSES_IGNORE.
[[nodiscard]] SUBLET_API Result<void> waitall(std::span<Call* const> calls,
                                              std::span<MPI_Request> requests,
                                              MPI_Status* statuses = MPI_STATUSES_IGNORE);

/// How request() lets MPI know: "progress" (Open MPI), "poll" (MPICH), "helper" (a thread), "none";
/// "unknown" without MPI_Init.
[[nodiscard]] SUBLET_API const char* request_path();

}  // namespace sublet::mpi
