#pragma once

// Grants as the managers tell them to one another.

#include <common/grant_terms.hpp>
#include <sublet/result.hpp>
#include <wire/control.capnp.h>

namespace sublet::manager {

/// `node` gives the names and addresses that clients need.
void write(wire::Grant::Builder to, const GrantTerms& terms, const NodeOffer& node);
void write(wire::GrantSpec::Builder to, const GrantTerms& terms, const NodeOffer& node);
/// The key's node stays empty: who speaks is known by the connection. kInvalid names what breaks a
/// limit.
Result<GrantTerms> read(wire::GrantSpec::Reader from);

void write(wire::NodeDescription::Builder to, const NodeOffer& offer);
Result<NodeOffer> read(wire::NodeDescription::Reader from);

void write(wire::Usage::Builder to, const UsageRecord& usage, std::uint32_t cores);
UsageRecord read(wire::Usage::Reader from);

inline std::int64_t to_unix_ms(Time time) {
  return time.time_since_epoch().count();
}
/// Clamped to what can be calculated with.
Time from_unix_ms(std::int64_t unix_ms);

}  // namespace sublet::manager
