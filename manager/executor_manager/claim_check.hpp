#pragma once

// Whether a client may claim a grant on this node: what it presents has to prove, offline. The
// rules are those of wire/signed_grant.hpp.

#include <common/auth/caller.hpp>
#include <common/sealing.hpp>
#include <sublet/result.hpp>

#include <cstddef>
#include <span>

namespace sublet::manager {

/// Who grants cores of this node: a resource manager, or this node itself.
struct Issuer {
  wire::PublicKey key{};
  milliseconds ahead{0};      ///< This node's clock, of the issuer's.
  milliseconds tolerance{0};  ///< Between the two.
};

/// What a client presents. Valid during the call only.
struct ClaimAttempt {
  std::span<const std::byte> sealed;
  std::span<const std::byte> proof;
  wire::ChannelBinding binding{};  ///< Of the connection that it came over.
  Caller caller;
};

/// What the grant says, when it is signed by `issuer`, for `audience`, presented by its holder over
/// this connection, and within its time at `now`, by this node's clock. kDenied says what is wrong.
Result<wire::GrantClaims> check_claim(const ClaimAttempt& attempt, const wire::PublicKey& audience,
                                      const Issuer& issuer, Time now);

/// kDenied when the caller is known to be another user than the grant's owner.
Result<void> check_owner(const Caller& caller, const GrantTerms& terms);

}  // namespace sublet::manager
