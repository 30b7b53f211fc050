#include <wire/signed_grant.hpp>

#include <algorithm>
#include <array>
#include <cstring>
#include <string>
#include <type_traits>
#include <vector>

namespace sublet::wire {
namespace {

using Tag = std::array<char, 16>;
constexpr Tag kGrantTag = {'s', 'u', 'b', 'l', 'e', 't', ' ', 'g',
                           'r', 'a', 'n', 't', ' ', '1', 0,   0};
constexpr Tag kClaimTag = {'s', 'u', 'b', 'l', 'e', 't', ' ', 'c',
                           'l', 'a', 'i', 'm', ' ', '1', 0,   0};
constexpr std::size_t kSignedBytes = kSealedGrantBytes - sizeof(Signature);

/// Puts fields into bytes, one after the other, and takes them out again: one function has the
/// layout for both.
class Packer {
 public:
  explicit Packer(std::span<std::byte> to) : to_(to) {}

  template <class Number>
  void number(Number value) {
    auto bits = static_cast<std::make_unsigned_t<Number>>(value);
    for (std::size_t i = 0; i < sizeof(Number); ++i, bits = static_cast<decltype(bits)>(bits >> 8))
      to_[at_++] = static_cast<std::byte>(bits & 0xFF);
  }
  template <class Bytes>
  void bytes(const Bytes& value) {
    std::memcpy(to_.data() + at_, value.data(), value.size());
    at_ += value.size();
  }

 private:
  std::span<std::byte> to_;
  std::size_t at_ = 0;
};

class Unpacker {
 public:
  explicit Unpacker(std::span<const std::byte> from) : from_(from) {}

  template <class Number>
  void number(Number& value) {
    std::make_unsigned_t<Number> bits = 0;
    for (std::size_t i = 0; i < sizeof(Number); ++i) {
      bits |= static_cast<decltype(bits)>(static_cast<decltype(bits)>(from_[at_++]) << (8 * i));
    }
    value = static_cast<Number>(bits);
  }
  template <class Bytes>
  void bytes(Bytes& value) {
    std::memcpy(value.data(), from_.data() + at_, value.size());
    at_ += value.size();
  }

 private:
  std::span<const std::byte> from_;
  std::size_t at_ = 0;
};

/// LAYOUT without the signature. `Claims` is const for a Packer.
template <class Coder, class Claims, class TagOf, class Lasts>
void code(Coder& coder, Claims& claims, TagOf& tag, Lasts& lasts) {
  coder.bytes(tag);
  coder.number(claims.lease);
  coder.number(claims.part);
  coder.number(claims.uid);
  coder.number(claims.slurm_job);
  coder.number(claims.workers);
  coder.number(claims.cores_per_worker);
  coder.number(claims.gpus_per_worker);
  coder.number(claims.memory_bytes);
  coder.number(claims.arena_bytes);
  coder.number(claims.issued_unix_ms);
  coder.number(lasts);
  coder.bytes(claims.nonce);
  coder.bytes(claims.audience);
  coder.bytes(claims.holder);
}

std::vector<std::byte> claim_message(std::span<const std::byte> sealed,
                                     const ChannelBinding& binding) {
  std::vector<std::byte> message(kClaimTag.size() + sealed.size() + binding.size());
  Packer packer(message);
  packer.bytes(kClaimTag);
  packer.bytes(sealed);
  packer.bytes(binding);
  return message;
}

}  // namespace

SealedGrant seal(const GrantClaims& claims, const SigningKey& issuer) {
  SealedGrant sealed{};
  Packer packer(sealed);
  const std::int64_t lasts = claims.lasts.count();
  code(packer, claims, kGrantTag, lasts);
  packer.bytes(issuer.sign(std::span(sealed).first<kSignedBytes>()));
  return sealed;
}

Result<GrantClaims> read_claims(std::span<const std::byte> sealed) {
  if (sealed.size() != kSealedGrantBytes) {
    return fail(ErrorKind::kDenied, std::to_string(sealed.size()) + " bytes are no grant; it has " +
                                        std::to_string(kSealedGrantBytes));
  }
  Unpacker unpacker(sealed);
  GrantClaims claims;
  Tag tag{};
  std::int64_t lasts = 0;
  code(unpacker, claims, tag, lasts);
  if (tag != kGrantTag) {
    return fail(ErrorKind::kDenied, "the bytes are no grant of this version");
  }
  claims.lasts = std::chrono::milliseconds(lasts);
  return claims;
}

Result<GrantClaims> open_sealed(std::span<const std::byte> sealed, const PublicKey& issuer) {
  auto claims = read_claims(sealed);
  if (!claims) return claims;
  if (is_signed(sealed.first(kSignedBytes), sealed.subspan(kSignedBytes), issuer)) return claims;
  return fail(ErrorKind::kDenied,
              "the grant is not signed by who grants leases of this node: it was altered, or comes "
              "from elsewhere");
}

Result<void> check_time(const GrantClaims& claims, std::int64_t now_unix_ms,
                        std::chrono::milliseconds tolerance) {
  // What is signed may still be anything: no sum of it overflows here.
  constexpr std::int64_t kFar = std::int64_t{1} << 52;
  const std::int64_t issued = std::clamp<std::int64_t>(claims.issued_unix_ms, 0, kFar);
  const std::int64_t lasts = std::clamp<std::int64_t>(claims.lasts.count(), 0, kFar);
  const std::int64_t age = now_unix_ms - issued;
  if (age > lasts + tolerance.count()) {
    return fail(ErrorKind::kDenied, "the grant expired " + std::to_string(age - lasts) +
                                        " ms ago; tolerated are " +
                                        std::to_string(tolerance.count()) + " ms between clocks");
  }
  if (age < -tolerance.count()) {
    return fail(ErrorKind::kDenied, "the grant was issued " + std::to_string(-age) +
                                        " ms from now; tolerated are " +
                                        std::to_string(tolerance.count()) + " ms between clocks");
  }
  return {};
}

Signature prove_holder(std::span<const std::byte> sealed, const ChannelBinding& binding,
                       const SigningKey& holder) {
  return holder.sign(claim_message(sealed, binding));
}

bool is_proved(std::span<const std::byte> proof, std::span<const std::byte> sealed,
               const ChannelBinding& binding, const PublicKey& holder) {
  return is_signed(claim_message(sealed, binding), proof, holder);
}

}  // namespace sublet::wire
