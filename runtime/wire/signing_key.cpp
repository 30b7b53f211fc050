#include <wire/secret_file.hpp>
#include <wire/signing_key.hpp>

#include <sodium.h>
#include <unistd.h>

#include <cerrno>
#include <utility>

namespace sublet::wire {
namespace {

constexpr SecretFileKind kGrantKeyFile{
    .what = "key of grants",
    .word = "sublet-grant-key-1 ",
    .about = "# Whoever can read this file may grant cores as the resource manager does.\n",
    .advice = "remove it, and the resource manager makes another one"};

const unsigned char* raw(std::span<const std::byte> bytes) {
  return reinterpret_cast<const unsigned char*>(bytes.data());
}

static_assert(sizeof(PublicKey) == crypto_sign_PUBLICKEYBYTES);
static_assert(sizeof(Signature) == crypto_sign_BYTES);
static_assert(kSecretBytes == crypto_sign_SEEDBYTES);

}  // namespace

SigningKey SigningKey::make() {
  static_assert(crypto_sign_SECRETKEYBYTES == std::tuple_size_v<decltype(secret_)>);
  SigningKey key;
  crypto_sign_keypair(key.public_.data(), key.secret_.data());
  return key;
}

SigningKey SigningKey::from_seed(const Seed& seed) {
  SigningKey key;
  crypto_sign_seed_keypair(key.public_.data(), key.secret_.data(), seed.data());
  return key;
}

SigningKey::Seed SigningKey::seed() const noexcept {
  Seed seed;
  crypto_sign_ed25519_sk_to_seed(seed.data(), secret_.data());
  return seed;
}

Result<SigningKey> SigningKey::keep(const std::string& path) {
  if (::access(path.c_str(), F_OK) != 0 && errno == ENOENT) {
    if (auto made = SecretFile::make(path, kGrantKeyFile); !made) {
      return tl::unexpected<Error>(std::move(made.error()));
    }
  }
  const auto secret = SecretFile::read(path, kGrantKeyFile);
  if (!secret) return tl::unexpected<Error>(secret.error());
  return from_seed(secret->bytes);
}

SigningKey::SigningKey(SigningKey&& other) noexcept {
  *this = std::move(other);
}

SigningKey& SigningKey::operator=(SigningKey&& other) noexcept {
  if (this == &other) return *this;
  secret_ = other.secret_;
  public_ = other.public_;
  sodium_memzero(other.secret_.data(), other.secret_.size());
  return *this;
}

SigningKey::~SigningKey() {
  sodium_memzero(secret_.data(), secret_.size());
}

Signature SigningKey::sign(std::span<const std::byte> message) const noexcept {
  Signature signature{};
  crypto_sign_detached(reinterpret_cast<unsigned char*>(signature.data()), nullptr, raw(message),
                       message.size(), secret_.data());
  return signature;
}

bool is_signed(std::span<const std::byte> message, std::span<const std::byte> signature,
               const PublicKey& key) noexcept {
  return signature.size() == crypto_sign_BYTES &&
         crypto_sign_verify_detached(raw(signature), raw(message), message.size(), key.data()) == 0;
}

}  // namespace sublet::wire
