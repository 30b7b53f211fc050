#pragma once

// clang-format off
// A grant that proves itself: what a client claims cores with, and an executor manager believes
// without asking anybody.
//
// LAYOUT  A sealed grant is 224 bytes. Numbers are little-endian; times are milliseconds.
//           0  16  "sublet grant 1" and two zero bytes: nothing else that is signed begins so
//          16   8  lease
//          24   4  part
//          28   4  uid of its owner; 2^32-1: not proved
//          32   4  Slurm job; 0: none
//          36   4  workers
//          40   4  cores per worker
//          44   4  GPUs per worker
//          48   8  memory
//          56   8  arena
//          64   8  issued, since 1970 by the issuer's clock
//          72   8  how long it lasts from then on
//          80  16  nonce
//          96  32  audience: the key of the executor manager that it is for, new with each start
//         128  32  holder: the key of who may claim it
//         160  64  the issuer's Ed25519 signature of all before it
// PROOF   Who claims signs, with the holder's secret key,
//           "sublet claim 1", two zero bytes, the sealed grant, the binding of his connection
//         The binding is the transcript of the handshake that opened the connection (handshake.hpp),
//         zeros over a Unix socket, where the kernel says who is at either end. So a proof is worth
//         nothing to who has seen it or has had it sent to him: over his own connection it is another
//         one. Without the binding, whoever could hold a claim up on its way would be the first to
//         present it.
// RULES   An executor manager takes it once, from its owner, for its own key, within its time; what it
//         says must be what the issuer has told the node of the same lease and part. A grant of
//         before its start is for a key that it has not any more.
// LIMITS  Everything is of fixed size. Lease numbers from kDirectLeases on are of leases that
//         executor managers grant by themselves, chosen at random by clients: no resource manager
//         gives such a number.
// clang-format on

#include <sublet/result.hpp>
#include <wire/signing_key.hpp>

#include <chrono>
#include <cstddef>
#include <cstdint>
#include <span>

namespace sublet::wire {

inline constexpr std::size_t kSealedGrantBytes = 224;
using SealedGrant = std::array<std::byte, kSealedGrantBytes>;
using Nonce = std::array<std::uint8_t, 16>;

/// Names one connection to both of its ends, and to nobody else; see PROOF.
using ChannelBinding = std::array<std::uint8_t, 32>;

inline constexpr std::uint64_t kDirectLeases = std::uint64_t{1} << 62;
[[nodiscard]] constexpr bool is_direct(std::uint64_t lease) noexcept {
  return lease >= kDirectLeases;
}

/// What a sealed grant says.
struct GrantClaims {
  std::uint64_t lease = 0;
  std::uint32_t part = 0;
  std::uint32_t uid = 0;
  std::uint32_t slurm_job = 0;
  std::uint32_t workers = 0;
  std::uint32_t cores_per_worker = 0;
  std::uint32_t gpus_per_worker = 0;
  std::uint64_t memory_bytes = 0;
  std::uint64_t arena_bytes = 0;
  std::int64_t issued_unix_ms = 0;
  std::chrono::milliseconds lasts{0};
  Nonce nonce{};
  PublicKey audience{};
  PublicKey holder{};

  bool operator==(const GrantClaims&) const = default;
};

[[nodiscard]] SealedGrant seal(const GrantClaims& claims, const SigningKey& issuer);

/// What `sealed` says, whoever has signed it. kDenied when it is no grant of this version.
Result<GrantClaims> read_claims(std::span<const std::byte> sealed);

/// What `sealed` says. kDenied when it is not `issuer` who has signed it.
Result<GrantClaims> open_sealed(std::span<const std::byte> sealed, const PublicKey& issuer);

/// kDenied when it is not yet, or no longer, good at `now_unix_ms` by the issuer's clock, give or
/// take `tolerance`.
Result<void> check_time(const GrantClaims& claims, std::int64_t now_unix_ms,
                        std::chrono::milliseconds tolerance);

/// That the holder claims it over that connection.
[[nodiscard]] Signature prove_holder(std::span<const std::byte> sealed,
                                     const ChannelBinding& binding, const SigningKey& holder);
[[nodiscard]] bool is_proved(std::span<const std::byte> proof, std::span<const std::byte> sealed,
                             const ChannelBinding& binding, const PublicKey& holder);

}  // namespace sublet::wire
