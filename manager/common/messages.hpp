#pragma once

// The managers' types as the wire carries them. What is read is hostile until checked here.

#include <common/grant_terms.hpp>
#include <sublet/result.hpp>
#include <wire/call_times.hpp>
#include <wire/control.capnp.h>

namespace sublet::manager {

/// What a client is given of a grant on `node`.
Grant to_grant(const GrantTerms& terms, const NodeOffer& node);

/// As the managers tell it to one another.
void write(wire::Grant::Builder to, const GrantTerms& terms);
/// The key's node stays empty: who speaks is known by the connection. kInvalid names what breaks a
/// limit.
Result<GrantTerms> read_terms(wire::Grant::Reader from);

void write(wire::EndedGrant::Builder to, const EndedGrant& ended);
Result<EndedGrant> read(wire::EndedGrant::Reader from);

void write(wire::NodeDescription::Builder to, const NodeOffer& offer);
Result<NodeOffer> read(wire::NodeDescription::Reader from);

void write(wire::NodeRegistration::CallTimesParams::Builder to, const wire::CallTimes& times);
/// kInvalid for buckets that there are not.
Result<wire::CallTimes> read(wire::NodeRegistration::CallTimesParams::Reader from);

/// Clamped to what can be calculated with.
Time from_unix_ms(std::int64_t unix_ms);

}  // namespace sublet::manager
