#include <executor_manager/claim_check.hpp>

#include <utility>

namespace sublet::manager {

Result<wire::GrantClaims> check_claim(const ClaimAttempt& attempt, const wire::PublicKey& audience,
                                      const Issuer& issuer, Time now) {
  // First, so that one of before this manager's start hears why: that had another issuer, perhaps.
  auto claims = wire::read_claims(attempt.sealed);
  if (!claims) return claims;
  if (claims->audience != audience) {
    return fail(
        ErrorKind::kDenied,
        "the grant is for another executor manager, or for the one that ran here before this "
        "one was started");
  }
  claims = wire::open_sealed(attempt.sealed, issuer.key);
  if (!claims) return claims;
  if (!wire::is_proved(attempt.proof, attempt.sealed, attempt.binding, claims->holder)) {
    return fail(
        ErrorKind::kDenied,
        "the grant is for the holder of another key: only the session that it was asked for "
        "can claim it");
  }
  if (auto in_time = wire::check_time(*claims, to_unix_ms(now - issuer.ahead), issuer.tolerance);
      !in_time) {
    return tl::unexpected<Error>(std::move(in_time.error()));
  }
  return claims;
}

Result<void> check_owner(const Caller& caller, const GrantTerms& terms) {
  const std::uint32_t owner = terms.owner_uid;
  // Who asked with a key over a network may claim as himself on his own node, and the other way
  // round: these users say nothing of one another, and the holder's key does.
  const bool comparable = caller.proved() && owner != kUnknownUid &&
                          (caller.proof == Proof::kKey) == terms.owner_by_key;
  if (!comparable || caller.uid == owner) return {};
  return fail(ErrorKind::kDenied,
              "the grant is uid " + std::to_string(owner) + "'s; asked has " + to_string(caller));
}

}  // namespace sublet::manager
