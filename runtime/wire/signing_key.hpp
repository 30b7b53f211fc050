#pragma once

// Ed25519 (RFC 8032) by libsodium, which must have been initialised.

#include <sublet/result.hpp>

#include <array>
#include <cstddef>
#include <cstdint>
#include <span>
#include <string>

namespace sublet::wire {

using PublicKey = std::array<std::uint8_t, 32>;
using Signature = std::array<std::byte, 64>;

/// A pair of keys. The secret one is wiped when it goes. Any thread.
class SigningKey {
 public:
  /// What a pair is made from: as secret as the key.
  using Seed = std::array<std::uint8_t, 32>;

  /// A fresh pair.
  static SigningKey make();
  static SigningKey from_seed(const Seed& seed);
  /// The pair that the file at `path` keeps, which is made when it is not there. kDenied when
  /// others may read it or it is another user's; kInvalid when it holds none or cannot be written.
  static Result<SigningKey> keep(const std::string& path);

  SigningKey(const SigningKey&) = delete;
  SigningKey& operator=(const SigningKey&) = delete;
  SigningKey(SigningKey&& other) noexcept;
  SigningKey& operator=(SigningKey&& other) noexcept;
  ~SigningKey();

  [[nodiscard]] const PublicKey& public_key() const noexcept { return public_; }
  [[nodiscard]] Seed seed() const noexcept;
  [[nodiscard]] Signature sign(std::span<const std::byte> message) const noexcept;

 private:
  SigningKey() = default;

  std::array<unsigned char, 64> secret_{};
  PublicKey public_{};
};

/// True when `signature` is that key's for `message`. Another encoding of a good signature is none,
/// and keys for which anything would be good are refused. A wrong length is as any wrong one.
[[nodiscard]] bool is_signed(std::span<const std::byte> message,
                             std::span<const std::byte> signature, const PublicKey& key) noexcept;

}  // namespace sublet::wire
