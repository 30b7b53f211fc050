#pragma once

// Nodes and leases for programs: what `sublet nodes` and `sublet leases` print as JSON, and
// whatever else shows them.

#include <sublet/session.hpp>
#include <wire/quota_info.hpp>

#include <span>
#include <string>

namespace sublet::manager {

/// {"nodes": [...]}, {"leases": [...]} and {"quotas": [...]}, indented. Always valid JSON: bytes
/// that are not UTF-8 are replaced.
std::string to_json(std::span<const NodeInfo> nodes);
std::string to_json(std::span<const LeaseInfo> leases);
std::string to_json(std::span<const wire::QuotaInfo> quotas);

}  // namespace sublet::manager
