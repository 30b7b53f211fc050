#pragma once

#include <sublet/mpi.hpp>

#include <mpi.h>
#include <sublet.h>

namespace sublet::mpi {

/// Sets what keys of `hints` that begin with "sublet_" say: in `of_ranks` what an Allocator alone
/// knows. A code of <sublet/codes.h>.
[[nodiscard]] int set_hints(MPI_Info hints, sublet_options* options, AllocatorOptions& of_ranks);

}  // namespace sublet::mpi
