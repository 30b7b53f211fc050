#include <executor_manager/gpu_choice.hpp>

#include <algorithm>
#include <map>
#include <tuple>

namespace sublet::manager {
namespace {

using Indices = std::vector<std::uint32_t>;

bool has_room(const CoreState& core, std::uint32_t most_users) {
  return core.usable && core.users < most_users;
}

/// GPUs that are near the same cores.
struct GpuGroup {
  Indices free;
  bool has_cores = false;
};

}  // namespace

std::vector<std::uint32_t> choose_gpus(const std::vector<GpuState>& gpus,
                                       const std::vector<CoreState>& cores,
                                       std::uint32_t most_users, std::uint32_t width,
                                       std::uint32_t count) {
  std::map<Indices, GpuGroup> groups;
  Indices all;
  for (std::uint32_t gpu = 0; gpu < gpus.size(); ++gpu) {
    if (gpus[gpu].used || !gpus[gpu].usable) continue;
    groups[gpus[gpu].near].free.push_back(gpu);
    all.push_back(gpu);
  }
  if (all.size() < count) return {};
  const GpuGroup* best = nullptr;
  for (auto& [near, group] : groups) {
    const auto room = std::count_if(near.begin(), near.end(), [&](std::uint32_t core) {
      return has_room(cores[core], most_users);
    });
    group.has_cores = room >= static_cast<std::ptrdiff_t>(width);
    if (group.free.size() < count) continue;
    const auto rank = [](const GpuGroup& one) {
      return std::tuple(!one.has_cores, one.free.size(), one.free.front());
    };
    if (best == nullptr || rank(group) < rank(*best)) best = &group;
  }
  Indices chosen = best == nullptr ? std::move(all) : best->free;
  chosen.resize(count);
  return chosen;
}

std::vector<std::uint32_t> choose_cores_near(const std::vector<GpuState>& gpus,
                                             const std::vector<std::uint32_t>& chosen,
                                             const std::vector<CoreState>& cores,
                                             std::uint32_t most_users, std::uint32_t width) {
  std::vector<CoreState> near = cores;
  for (CoreState& core : near) core.usable = false;
  for (const std::uint32_t gpu : chosen) {
    for (const std::uint32_t core : gpus[gpu].near) near[core].usable = cores[core].usable;
  }
  auto close = choose_cores(near, most_users, width);
  return close.empty() ? choose_cores(cores, most_users, width) : close;
}

}  // namespace sublet::manager
