#include <common/sealing.hpp>

#include <sodium.h>

namespace sublet::manager {
namespace {

/// What the terms say; the rest is from `rest`.
wire::GrantClaims claims_of(const GrantTerms& terms, wire::GrantClaims rest) {
  rest.lease = number(terms.key.lease);
  rest.part = terms.key.part;
  rest.uid = terms.owner_uid;
  rest.slurm_job = terms.slurm_job;
  rest.workers = terms.workers;
  rest.cores_per_worker = terms.cores_per_worker;
  rest.gpus_per_worker = terms.gpus_per_worker;
  rest.memory_bytes = terms.memory_bytes;
  rest.arena_bytes = terms.arena_bytes;
  rest.nonce = nonce_of(terms.token);
  return rest;
}

}  // namespace

wire::Nonce nonce_of(const Token& token) {
  static constexpr unsigned char kName[] = "sublet nonce";
  static_assert(sizeof(wire::Nonce) >= crypto_generichash_BYTES_MIN &&
                sizeof(Token) >= crypto_generichash_KEYBYTES_MIN);
  wire::Nonce nonce{};
  crypto_generichash(nonce.data(), nonce.size(), kName, sizeof(kName), token.data(), token.size());
  return nonce;
}

wire::SealedGrant seal(const GrantTerms& terms, const GrantParties& parties, Time issued,
                       const wire::SigningKey& issuer) {
  wire::GrantClaims claims;
  claims.issued_unix_ms = to_unix_ms(issued);
  claims.lasts = terms.expires - issued;
  claims.audience = parties.audience;
  claims.holder = parties.holder;
  return wire::seal(claims_of(terms, claims), issuer);
}

bool are_of(const wire::GrantClaims& claims, const GrantTerms& terms) {
  return claims == claims_of(terms, claims);
}

}  // namespace sublet::manager
