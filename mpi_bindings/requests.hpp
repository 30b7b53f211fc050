#pragma once

#include <sublet/call.hpp>
#include <sublet/result.hpp>

#include <mpi.h>

#include <span>

namespace sublet::mpi {

/// Where the end of a call is written to, before its request is complete: `write(to, reply)`.
struct Delivery {
  void* to = nullptr;
  void (*write)(void* to, const Reply& reply) noexcept = nullptr;
};

/// A request for `call`, which is taken over when this succeeds. Between MPI_Init and MPI_Finalize.
Result<MPI_Request> open_request(Call& call, Delivery delivery);

/// What waitall() does, with MPI's error, whose handler has been called.
int wait_for_all(std::span<Call* const> calls, std::span<MPI_Request> requests,
                 MPI_Status* statuses) noexcept;

/// In MPI_Finalize: no request is left open. Calls that have not ended are their leases' then.
void close_requests() noexcept;

}  // namespace sublet::mpi
