#pragma once

// The managers' grants as those that prove themselves: wire/signed_grant.hpp.

#include <common/grant_terms.hpp>
#include <wire/signed_grant.hpp>

namespace sublet::manager {

/// A grant as its client gets it.
struct SealedTerms {
  GrantTerms terms;
  wire::SealedGrant sealed{};
};

/// Whom it is for, beside its owner.
struct GrantParties {
  wire::PublicKey audience{};
  wire::PublicKey holder{};
};

/// Says which grant of that lease and part is meant, and nothing of the token.
wire::Nonce nonce_of(const Token& token);

wire::SealedGrant seal(const GrantTerms& terms, const GrantParties& parties, Time issued,
                       const wire::SigningKey& issuer);

/// True when `claims` say of the grant what `terms` do, whenever it was issued and for whomever.
[[nodiscard]] bool are_of(const wire::GrantClaims& claims, const GrantTerms& terms);

}  // namespace sublet::manager
