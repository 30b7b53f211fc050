#pragma once

#include <mpi.h>

#include <chrono>
#include <cstdint>
#include <memory>
#include <string>
#include <sublet/sublet.hpp>

namespace sublet::mpi {

struct AllocatorOptions {
  SessionOptions session{};
  /// Workers each rank gets for itself.
  std::uint32_t workers_per_rank = 1;
  std::uint64_t memory_bytes_per_rank = std::uint64_t{256} << 20;
  std::chrono::seconds duration{3600};
  Placement placement = Placement::kNear;
  std::chrono::milliseconds hot_timeout{-1};
  std::uint64_t arena_bytes = std::uint64_t{1} << 30;
};

/// Leases workers for all ranks of a communicator and connects each rank to its own.
///
/// Collective: create() is called by every rank of the communicator with equal options (the
/// session's aside). One rank asks the resource manager once, the grants are scattered, each rank
/// connects its own channels; a failure anywhere becomes the same error on every rank. The lease is
/// released when the last handle goes, when the communicator is freed, or in MPI_Finalize,
/// whichever comes first; after that calls end with Status::kClosed. Thread rule: as for Lease.
class Allocator {
 public:
  Allocator() = default;

  static Result<Allocator> create(MPI_Comm comm, const AllocatorOptions& options = {});

  /// This rank's workers.
  [[nodiscard]] Lease& lease();
  /// This rank's session; rank 0's knows the resource manager, the others' are detached.
  [[nodiscard]] Session& session();

  /// Collective over the communicator: one timeline of all ranks, written by rank 0. The same
  /// result on every rank.
  Result<void> write_trace(const std::string& path);

  /// Collective over the communicator: what all ranks' leases have consumed so far.
  Result<Usage> usage();

  /// This rank's part only; not collective. Idempotent.
  void release();

 private:
  struct State;
  explicit Allocator(std::shared_ptr<State> state) : state_(std::move(state)) {}
  std::shared_ptr<State> state_;
};

}  // namespace sublet::mpi
