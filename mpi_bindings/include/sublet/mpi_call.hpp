#pragma once

#include <sublet/call.hpp>
#include <sublet/export.hpp>

#include <mpi.h>

#include <chrono>
#include <memory>
#include <string>

namespace sublet::mpi {

/// `count` elements of `type` at `data`, as for MPI_Send.
struct Input {
  const void* data = nullptr;
  MPI_Count count = 0;
  MPI_Datatype type = MPI_BYTE;
};

/// Room for `count` elements of `type` at `data`, as for MPI_Recv.
struct Output {
  void* data = nullptr;
  MPI_Count count = 0;
  MPI_Datatype type = MPI_BYTE;
};

/// A call that is set up once and started many times, with input and output that MPI datatypes
/// describe. Allocator::persistent_call() makes it.
///
///   MPI_Type_vector(rows, 1, columns, MPI_DOUBLE, &column);
///   MPI_Type_commit(&column);
///   auto smooth = workers.persistent_call(function, {matrix, 1, column}, {matrix, 1, column});
///   for (int step = 0; step < steps; ++step) {
///     smooth->start().value_or_throw();
///     ...
///     if (!smooth->wait().ok()) std::puts(smooth->error().c_str());
///   }
///
/// The function sees the values one after the other. Of types with holes, start() packs the input
/// into the lease's arena, once, and the first wait or poll that finds the call ended unpacks the
/// output; holes keep what they had. Basic types, and contiguous types of those, are passed as they
/// lie, like the memory of any other call. An output may be shorter than its room, by whole
/// elements.
///
/// Data must stay where it is; datatypes may be freed at once. Thread rule: as for the function,
/// and as MPI's thread level allows. After the communicator was freed, or MPI finalised, nothing
/// can be started. The destructor waits for a call under way.
class SUBLET_API PersistentCall {
 public:
  PersistentCall() = default;

  /// Packs the input and starts the function. kInvalid while the call before is under way, and when
  /// the communicator or MPI has ended.
  Result<void> start();

  /// True when the call has ended. Never blocks.
  [[nodiscard]] bool poll() noexcept;

  /// Waits for the end of the call. Once it has ended, the same again, until the next start.
  Reply wait() noexcept;

  /// As wait, at most for `limit`; status kDeadline when the call is still under way then.
  Reply wait_for(std::chrono::nanoseconds limit) noexcept;

  /// Why the call failed. Empty unless it has ended badly.
  [[nodiscard]] std::string error() const;

  [[nodiscard]] bool valid() const noexcept { return state_ != nullptr; }

 private:
  friend class Allocator;
  struct [[gnu::visibility("hidden")]] State;
  explicit PersistentCall(std::shared_ptr<State> state) : state_(std::move(state)) {}
  std::shared_ptr<State> state_;
};

}  // namespace sublet::mpi
