#pragma once

namespace sublet::mpi::bench {

/// The row wide_2cores: OpenMP on a worker of two cores beside the same on one core, while the rank
/// sleeps in its wait; the ratio is the speed-up. `library` has price_options(). Throws Error.
void compare_wide(const char* library, const char* mpi);

}  // namespace sublet::mpi::bench
