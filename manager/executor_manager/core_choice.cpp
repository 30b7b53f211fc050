#include <executor_manager/core_choice.hpp>

#include <algorithm>
#include <map>

namespace sublet::manager {
namespace {

using Indices = std::vector<std::uint32_t>;

/// The least used ones, ascending; empty when there are fewer.
Indices least_used(const std::vector<CoreState>& cores, Indices among, std::uint32_t width) {
  if (among.size() < width) return {};
  std::stable_sort(among.begin(), among.end(), [&](std::uint32_t a, std::uint32_t b) {
    return cores[a].users < cores[b].users;
  });
  among.resize(width);
  std::sort(among.begin(), among.end());
  return among;
}

/// Those of the smallest group that is large enough; the first of several.
Indices in_one_group(const std::vector<CoreState>& cores, const Indices& among,
                     unsigned CorePlace::*group, std::uint32_t width) {
  std::map<unsigned, Indices> groups;
  for (const std::uint32_t core : among) groups[cores[core].place.*group].push_back(core);
  const Indices* best = nullptr;
  for (const auto& [number, members] : groups) {
    if (members.size() < width) continue;
    if (best == nullptr || members.size() < best->size() ||
        (members.size() == best->size() && members.front() < best->front())) {
      best = &members;
    }
  }
  return best == nullptr ? Indices{} : least_used(cores, *best, width);
}

bool costs_a_worker(std::vector<CoreState> cores, std::uint32_t most_users, const Indices& chosen) {
  const auto width = static_cast<std::uint32_t>(chosen.size());
  const std::uint32_t before = most_workers(cores, most_users, width);
  for (const std::uint32_t core : chosen) ++cores[core].users;
  return most_workers(cores, most_users, width) + 1 < before;
}

}  // namespace

std::uint32_t most_workers(const std::vector<CoreState>& cores, std::uint32_t most_users,
                           std::uint32_t width) {
  std::uint64_t free = 0;
  for (const CoreState& core : cores) free += most_users - std::min(most_users, core.users);
  // `count` workers fit when the cores have room for them, each counting once per worker.
  const auto fit = [&](std::uint64_t count) {
    std::uint64_t room = 0;
    for (const CoreState& core : cores) {
      room += std::min<std::uint64_t>(most_users - std::min(most_users, core.users), count);
    }
    return room >= count * width;
  };
  std::uint64_t some = 0;
  std::uint64_t too_many = free / width + 1;
  while (some + 1 < too_many) {
    const std::uint64_t middle = some + (too_many - some) / 2;
    (fit(middle) ? some : too_many) = middle;
  }
  return static_cast<std::uint32_t>(some);
}

std::vector<std::uint32_t> choose_cores(const std::vector<CoreState>& cores,
                                        std::uint32_t most_users, std::uint32_t width) {
  Indices all;
  for (std::uint32_t core = 0; core < cores.size(); ++core) {
    if (cores[core].usable && cores[core].users < most_users) all.push_back(core);
  }
  if (all.size() < width) return {};
  // A core that is somebody's last wish counts as if it had one user more.
  for (std::uint32_t limit = 0; width > 1 && limit <= most_users; ++limit) {
    Indices among;
    std::copy_if(all.begin(), all.end(), std::back_inserter(among), [&](std::uint32_t core) {
      return cores[core].users + (cores[core].place.last_wish ? 1 : 0) <= limit;
    });
    for (unsigned CorePlace::*const group : {&CorePlace::cache, &CorePlace::numa_node}) {
      Indices close = in_one_group(cores, among, group, width);
      if (!close.empty() && (most_users == 1 || !costs_a_worker(cores, most_users, close))) {
        return close;
      }
    }
  }
  return least_used(cores, std::move(all), width);
}

}  // namespace sublet::manager
