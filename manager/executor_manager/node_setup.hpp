#pragma once

#include <executor_manager/core_inventory.hpp>
#include <executor_manager/executor_manager.hpp>
#include <executor_manager/gpu_discovery.hpp>
#include <sublet/result.hpp>
#include <topology/topology.hpp>

#include <cstdint>
#include <string>
#include <vector>

namespace sublet::manager {

// What an executor manager works out from its options before it starts.

/// The cores, memory and GPUs that the options leave of this node; `cpuset` are the cores, for
/// people.
Result<CoreInventory::Offer> make_offer(const ExecutorManagerOptions& options, std::string& cpuset);

/// The GPUs, each with those of the offered cores that `topology` has nearest to it.
std::vector<CoreInventory::Offer::Gpu> place_gpus(std::vector<Gpu> gpus,
                                                  const topology::Topology& topology,
                                                  const std::vector<std::string>& cpusets);

/// Whom executors run as; ~0: unchanged.
struct ExecutorUser {
  std::uint32_t uid = ~std::uint32_t{0};
  std::uint32_t gid = ~std::uint32_t{0};
};
/// `configured` is a user's name; empty: `nobody` when this process is root's.
Result<ExecutorUser> find_user(const std::string& configured);

}  // namespace sublet::manager
