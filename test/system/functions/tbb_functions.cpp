// What TBB makes of a worker.
#include <sublet/function.hpp>

#include <sched.h>
#include <tbb/parallel_for.h>
#include <tbb/task_arena.h>

#include <array>
#include <atomic>

// How many threads TBB would use, and all processors that they may run on.
SUBLET_FUNCTION(look_with_tbb, const std::uint8_t&, std::array<std::uint64_t, 2>& view) {
  std::atomic<std::uint64_t> seen{0};
  tbb::parallel_for(0, 10000, [&](int) {
    cpu_set_t set;
    CPU_ZERO(&set);
    ::sched_getaffinity(0, sizeof(set), &set);
    for (unsigned i = 0; i < 64; ++i) {
      if (CPU_ISSET(i, &set)) seen |= std::uint64_t{1} << i;
    }
  });
  view = {static_cast<std::uint64_t>(tbb::this_task_arena::max_concurrency()), seen.load()};
}
