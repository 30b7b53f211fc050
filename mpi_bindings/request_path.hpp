#pragma once

#include <sublet/result.hpp>

namespace sublet::mpi {

/// How MPI learns that a call has ended for which it has a request.
///
///   kProgress  Open MPI: a function that its progress engine calls, while requests are open.
///   kPoll      MPICH: a function of each request that MPI's waits and tests for it call.
///   kHelper    a thread of ours looks, and tells MPI. Needs MPI_THREAD_MULTIPLE.
struct RequestPath {
  enum class Kind { kProgress, kPoll, kHelper };
  using Callback = int (*)();

  Kind kind = Kind::kHelper;
  /// Several threads may meet in MPI, and so at a lease that has requests.
  bool threads = true;
  // kProgress only.
  int (*start_calling)(Callback) = nullptr;
  int (*stop_calling)(Callback) = nullptr;
};

/// The one of this process, chosen when it is first asked for, between MPI_Init and MPI_Finalize.
/// kUnsupported when there is none.
[[nodiscard]] const Result<RequestPath>& request_path_of_process();

/// What that would be with MPI_THREAD_MULTIPLE. Any time: MPI need not be initialised.
[[nodiscard]] Result<RequestPath> offered_request_path();

/// "progress", "poll", "helper" or "none".
[[nodiscard]] const char* name_of(const Result<RequestPath>& path) noexcept;

}  // namespace sublet::mpi
