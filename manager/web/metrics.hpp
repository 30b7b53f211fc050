#pragma once

#include <common/connection_table.hpp>
#include <resource_manager/resource_manager_service.hpp>

#include <web/viewer.hpp>

#include <array>
#include <cstdint>
#include <string>

namespace sublet::manager::web {

/// What the web server has done since it began.
struct WebCounters {
  std::array<std::uint64_t, 6> answers{};  ///< By the first digit of their status.
  std::uint64_t streams = 0;               ///< Open now.
};

/// Where the numbers of metrics_text come from. Null: there is no such thing.
struct MetricsSource {
  const ResourceManagerService& service;
  const WebCounters& web;
  const ConnectionTable::State* web_connections = nullptr;
  const ConnectionTable::State* connections = nullptr;  ///< Of clients and nodes.
};

/// Prometheus' text format, version 0.0.4. Labels are bounded: states, and the names of
/// kMaxNodesShown nodes and, for who may see them, of kMaxUsersShown users; the rest is summed up
/// as "other". No lease is named.
std::string metrics_text(const MetricsSource& source, const Viewer& viewer);

}  // namespace sublet::manager::web
