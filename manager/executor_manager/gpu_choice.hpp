#pragma once

#include <executor_manager/core_choice.hpp>

#include <cstdint>
#include <vector>

namespace sublet::manager {

/// A node's GPUs as a worker's are chosen from them.
struct GpuState {
  /// The cores nearest to it, ascending: those of one NUMA node or package, as a rule. Empty: not
  /// known, or none of them is offered.
  std::vector<std::uint32_t> near{};
  bool used = false;   ///< By a grant. A GPU is never shared.
  bool usable = true;  ///< False: not for this worker.
};

/// `count` GPUs that are free, for one worker of `width` cores, ascending; empty when there are not
/// so many. They are near the same cores where they fit, best where `width` of these cores can be
/// had (core_choice.hpp): the smallest such group, so that large ones stay for workers with several
/// GPUs.
[[nodiscard]] std::vector<std::uint32_t> choose_gpus(const std::vector<GpuState>& gpus,
                                                     const std::vector<CoreState>& cores,
                                                     std::uint32_t most_users, std::uint32_t width,
                                                     std::uint32_t count);

/// `width` cores for a worker that has these GPUs: as choose_cores, of those that are near one of
/// them where they fit.
[[nodiscard]] std::vector<std::uint32_t> choose_cores_near(const std::vector<GpuState>& gpus,
                                                           const std::vector<std::uint32_t>& chosen,
                                                           const std::vector<CoreState>& cores,
                                                           std::uint32_t most_users,
                                                           std::uint32_t width);

}  // namespace sublet::manager
