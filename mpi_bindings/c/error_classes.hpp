#pragma once

#include <mpi.h>

namespace sublet::mpi {

/// SUBLET_SUCCESS between MPI_Init and MPI_Finalize, else the code that says where one is, or that
/// another MPI runs than the one this library is for: then no handle may be touched.
[[nodiscard]] int mpi_state() noexcept;

/// `state`, which is none of success, with its text as the last error; `finalized` is that of
/// SUBLET_ERR_FINALIZED.
int no_mpi(int state, const char* finalized) noexcept;

/// The class that MPI knows `code` of <sublet/codes.h> by; makes it when there is none yet. `code`
/// itself when MPI cannot have one now.
[[nodiscard]] int error_class_of(int code) noexcept;

/// The code that `error` stands for.
[[nodiscard]] int code_of_class(int error) noexcept;

/// The end of a function of <sublet_mpi.h>: `code` as MPI's error, for which the error handler of
/// `comm` has been called. MPI_COMM_NULL: that of MPI_COMM_WORLD.
[[nodiscard]] int finish(MPI_Comm comm, int code) noexcept;

}  // namespace sublet::mpi
