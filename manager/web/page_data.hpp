#pragma once

#include <resource_manager/resource_manager_service.hpp>

#include <web/load_history.hpp>
#include <web/viewer.hpp>

#include <string>

namespace sublet::manager::web {

// What the page shows, as JSON on one line each. Compact, because 400 nodes with 1,000 leases are
// sent whenever they change; openapi.json describes them.

/// Nodes, leases and waiting requests: changes only when one of them does.
std::string overview_json(const ResourceManagerService& service, const Viewer& viewer);

/// Sums, rates, and what users hold and have used today: another one every second.
std::string tick_json(const ResourceManagerService& service, const LoadHistory& history,
                      const Viewer& viewer);

}  // namespace sublet::manager::web
