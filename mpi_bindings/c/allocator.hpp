#pragma once

#include "../attachment.hpp"
#include "error_classes.hpp"
#include <sublet/c.hpp>
#include <sublet/mpi.hpp>

#include <sublet_mpi.h>

#include <memory>
#include <utility>

namespace sublet::mpi {

/// Learns of the end of its communicator.
class Watch final : public Attached {
 public:
  void communicator_ends() noexcept override { ended_ = true; }
  [[nodiscard]] bool has_ended() const noexcept override { return ended_; }

 private:
  bool ended_ = false;
};

/// What a handle has to do with MPI.
struct Scope {
  MPI_Comm comm = MPI_COMM_NULL;
  std::shared_ptr<Watch> watch;
};

/// SUBLET_SUCCESS where MPI and the communicator are there, and `handle` is one; `null_text` says
/// that it is not.
template <class Handle>
int check_scope(const Handle* handle, const char* null_text) {
  if (handle == nullptr) return sublet_set_last_error(SUBLET_ERR_HANDLE, null_text);
  if (const int state = mpi_state(); state != SUBLET_SUCCESS) {
    return no_mpi(state, "MPI has been finalised, and the lease has ended with it");
  }
  if (!handle->scope.watch->has_ended()) return SUBLET_SUCCESS;
  return sublet_set_last_error(SUBLET_ERR_COMM_FREED,
                               "the communicator has been freed, and the lease has ended with it");
}

}  // namespace sublet::mpi

struct sublet_allocator {
  sublet::mpi::Allocator allocator;
  sublet::mpi::Scope scope;
};

namespace sublet::mpi {

inline int check_allocator(const sublet_allocator* allocator) {
  return check_scope(allocator,
                     "the handle of the allocator is null: it was never opened, or has been freed");
}

/// Runs `use(*allocator)`, which returns a Result<void>, where MPI and the communicator are there.
template <class Use>
int with(sublet_allocator* allocator, const char* attempted, Use&& use) {
  if (const int code = check_allocator(allocator); code != SUBLET_SUCCESS) {
    return finish(MPI_COMM_NULL, code);
  }
  return finish(allocator->scope.comm, c::guarded(attempted, [&] { return use(*allocator); }));
}

}  // namespace sublet::mpi
