#include <base/log.hpp>
#include <executor_manager/gpu_discovery.hpp>
#include <executor_manager/node_setup.hpp>
#include <topology/topology.hpp>

#include <pwd.h>
#include <unistd.h>

#include <cstdint>
#include <fstream>
#include <vector>

namespace sublet::manager {
namespace {

std::uint64_t physical_memory() noexcept {
  const long pages = ::sysconf(_SC_PHYS_PAGES);
  const long size = ::sysconf(_SC_PAGESIZE);
  return pages > 0 && size > 0
             ? static_cast<std::uint64_t>(pages) * static_cast<std::uint64_t>(size)
             : 0;
}

/// False in a user namespace (`unshare -r`, some containers) that has no such user or group: root
/// is an ordinary user there.
bool namespace_has(const char* map, std::uint32_t id) {
  std::ifstream file(map);
  std::uint64_t first = 0;
  std::uint64_t outside = 0;
  std::uint64_t count = 0;
  bool any = false;
  while (file >> first >> outside >> count) {
    any = true;
    if (id >= first && id - first < count) return true;
  }
  return !any;  // unknown
}

}  // namespace

std::vector<CoreInventory::Offer::Gpu> place_gpus(std::vector<Gpu> gpus,
                                                  const topology::Topology& topology,
                                                  const std::vector<std::string>& cpusets) {
  std::vector<CoreInventory::Offer::Gpu> placed;
  for (Gpu& gpu : gpus) {
    const topology::Cpuset near = topology.near_pci_device(gpu.pci_address);
    CoreInventory::Offer::Gpu& offered = placed.emplace_back();
    offered.info = std::move(gpu.info);
    for (std::uint32_t core = 0; core < cpusets.size(); ++core) {
      const auto own = topology::Cpuset::parse(cpusets[core]);
      if (own && near.intersects(*own)) offered.near.push_back(core);
    }
  }
  return placed;
}

Result<CoreInventory::Offer> make_offer(const ExecutorManagerOptions& options,
                                        std::string& cpuset) {
  auto gpus = find_gpus(options.gpus, GpuVariables::get());
  if (!gpus) return tl::unexpected<Error>(gpus.error());
  using topology::Devices;
  auto topology = topology::Topology::load(gpus->empty() ? Devices::kNone : Devices::kPci);
  if (!topology) return tl::unexpected<Error>(topology.error());
  if (!options.cpuset.empty()) {
    if (auto kept = topology->restrict_to(options.cpuset); !kept) {
      return tl::unexpected<Error>(kept.error());
    }
  }
  if (options.cores != 0) {
    if (auto kept = topology->restrict_to_first(options.cores); !kept) {
      return tl::unexpected<Error>(kept.error());
    }
  }
  std::uint64_t total = topology->total_memory_bytes();
  if (total == 0) total = physical_memory();  // hwloc has not found it, in some containers
  if (options.memory_bytes > total) {
    return fail(ErrorKind::kInvalid, "--memory offers " + std::to_string(options.memory_bytes) +
                                         " bytes; this node has " + std::to_string(total));
  }
  CoreInventory::Offer offer;
  offer.oversubscribe = options.oversubscribe;
  offer.memory_bytes = options.memory_bytes != 0 ? options.memory_bytes : total / 10 * 8;
  const auto avoid = topology::Cpuset::parse(options.avoid);
  if (!options.avoid.empty() && !avoid) return tl::unexpected<Error>(avoid.error());
  for (const bool last : {false, true}) {
    for (const topology::Core& core : topology->cores()) {
      if ((avoid && core.cpuset.intersects(*avoid)) != last) continue;
      offer.cpusets.push_back(core.cpuset.to_list());
      offer.places.push_back({core.numa_node, core.cache, last});
    }
  }
  offer.gpus = place_gpus(std::move(*gpus), *topology, offer.cpusets);
  cpuset = topology->cpuset().to_list();
  offer.all = cpuset;
  return offer;
}

Result<ExecutorUser> find_user(const std::string& configured) {
  const bool root = ::geteuid() == 0;
  if (configured.empty() && !root) return ExecutorUser{};
  const std::string name = configured.empty() ? "nobody" : configured;
  std::vector<char> buffer(16384);
  passwd entry{};
  passwd* found = nullptr;
  if (::getpwnam_r(name.c_str(), &entry, buffer.data(), buffer.size(), &found) != 0 ||
      found == nullptr) {
    return fail(ErrorKind::kInvalid, "executors are to run as '" + name +
                                         "', and there is no such user; see --executor-user");
  }
  if (root && found->pw_uid == 0) {
    return fail(ErrorKind::kInvalid,
                "--executor-user is '" + name +
                    "': functions would have all of root's rights; name a user "
                    "without them, or leave it out (nobody)");
  }
  if (!root && found->pw_uid != ::geteuid()) {
    return fail(ErrorKind::kDenied, "only root can run executors as another user ('" + name + "')");
  }
  if (!root) return ExecutorUser{};
  if (configured.empty() && !(namespace_has("/proc/self/uid_map", found->pw_uid) &&
                              namespace_has("/proc/self/gid_map", found->pw_gid))) {
    base::log().info("executors run as this user: its user namespace has no '{}'", name);
    return ExecutorUser{};
  }
  return ExecutorUser{found->pw_uid, found->pw_gid};
}

}  // namespace sublet::manager
