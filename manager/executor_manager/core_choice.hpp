#pragma once

#include <cstdint>
#include <vector>

namespace sublet::manager {

/// Where a core is. Cores of one number share what it stands for.
struct CorePlace {
  unsigned numa_node = 0;
  unsigned cache = 0;      ///< The last one.
  bool last_wish = false;  ///< To be used only when no other will do.
};

/// A node's cores as a worker's are chosen from them, in the order of preference.
struct CoreState {
  CorePlace place;
  std::uint32_t users = 0;
  bool usable = true;  ///< False: not for this worker.
};

/// So many workers of `width` different cores each can still be had when a core has `most_users` at
/// most.
[[nodiscard]] std::uint32_t most_workers(const std::vector<CoreState>& cores,
                                         std::uint32_t most_users, std::uint32_t width);

/// `width` different cores for one worker, ascending; empty when there are not so many with fewer
/// than `most_users`. They share a cache, else a NUMA node, where they fit: the smallest gap among
/// the least used ones, so that large gaps stay for wide workers. That costs no worker: where
/// being close would leave room for fewer of them (cores that are offered more than once), the
/// least used cores are taken wherever they are. A single core is the first of the least used.
[[nodiscard]] std::vector<std::uint32_t> choose_cores(const std::vector<CoreState>& cores,
                                                      std::uint32_t most_users,
                                                      std::uint32_t width);

}  // namespace sublet::manager
