#pragma once

#include <common/manager_clock.hpp>
#include <executor_manager/container_images.hpp>
#include <executor_manager/executor.hpp>
#include <executor_manager/executor_users.hpp>
#include <executor_manager/library_cache.hpp>

#include <cstdint>
#include <optional>
#include <string>

namespace sublet::manager {

/// What grants need of their executor manager. Outlives them.
struct NodeServices {
  ExecutorServices executors;
  LibraryCache& libraries;
  const ManagerClock& clock;
  std::uint32_t uid = ~std::uint32_t{0};  ///< For executors; ~0: as this process.
  std::uint32_t gid = ~std::uint32_t{0};
  bool as_owner = false;          ///< Executors run as their lease's owner, where that is not root.
  ExecutorUsers users{};          ///< In place of that one, where there are any.
  bool hidden = false;            ///< Executors, from other processes of their user.
  std::uint64_t stack_bytes = 0;  ///< Of each worker; 0: the executor decides.
  std::string core_directory{};   ///< For core files of executors; empty: none.
  /// Executors with a library run in containers of these; nothing: in none.
  std::optional<ContainerImages> images{};
  std::string rdma_host{};  ///< Device or address for RDMA connections; empty: all active ports.
  std::string data_host{};  ///< Where executors take network connections; empty: all addresses.
};

}  // namespace sublet::manager
