#pragma once

#include <mpi.h>
#include <sublet.h>

namespace sublet::mpi {

/// Sets what keys of `hints` that begin with "sublet_" say. A code of <sublet/codes.h>.
[[nodiscard]] int set_hints(MPI_Info hints, sublet_options* options);

}  // namespace sublet::mpi
