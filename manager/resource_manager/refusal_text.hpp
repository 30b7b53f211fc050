#pragma once

#include <sublet/lease.hpp>
#include <sublet/session.hpp>

#include <chrono>
#include <span>
#include <string>

namespace sublet::manager {

/// "asked for 8 cores in 4 parts of 2 and 1 GiB each; free are 3 cores on 2 nodes: c1 2 cores
/// 900 MiB, ...; no node is lost".
std::string refusal_text(const LeaseRequest& request, std::span<const NodeInfo> nodes);

/// As people write it: "250 ms", "30 s", "12 min", "2 h 5 min". Not negative.
std::string duration_text(std::chrono::milliseconds duration);

/// As people write it: "900 MiB", "1.5 GiB".
std::string bytes_text(std::uint64_t bytes);

}  // namespace sublet::manager
