#pragma once

// How the two ends of a control connection over a network know each other, and what they have to
// prove themselves with. Over a Unix socket the kernel says who the other end is.
//
// PROOFS  key    both ends hold the same key file (`sublet key new`). The caller is taken for the
//                owner of the server's copy.
//         munge  each end has the other's MUNGE credential decoded by its own munged, which names
//                the user. A client believes a manager that is root's, its own user's, or
//                `manager_user`'s.
//         none   both ends were told to do without (`--insecure`, SUBLET_INSECURE).
// How a proof is bound to the connection: handshake.hpp.

#include <sublet/result.hpp>
#include <wire/secret_file.hpp>

#include <array>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <utility>
#include <vector>

namespace sublet::wire {

inline constexpr std::uint32_t kNobodyKnown = ~std::uint32_t{0};

/// In the order in which a server prefers them.
enum class ProofKind : std::uint8_t { kKey = 1, kMunge = 2, kNone = 3 };

/// Of `sublet doctor`, logs and errors: "a key file", "MUNGE", "nothing".
[[nodiscard]] const char* to_string(ProofKind kind) noexcept;

/// Where proofs come from, as options say it.
struct TrustOptions {
  bool keys = true;  ///< False: no key file whatsoever.
  /// Empty: $SUBLET_KEY_FILE, else the first of default_key_files() that is there.
  std::vector<std::string> key_files{};
  /// Whose managers are believed beside root's and this user's own: a name or a number. Empty:
  /// $SUBLET_MANAGER_USER, else nobody's.
  std::string manager_user{};
  /// Also set by SUBLET_INSECURE=1.
  bool insecure = false;
};

/// A shared key. The bytes are wiped when it goes.
class Key {
 public:
  static constexpr std::size_t kBytes = kSecretBytes;
  using Id = std::array<unsigned char, 8>;  ///< Tells keys apart, and nothing about them.

  /// kDenied when others may read the file or it is neither this user's nor root's (for root: it
  /// may be anybody's); kInvalid when it holds no key. Both say what to do.
  static Result<Key> read(const std::string& path);
  /// Makes a new file, mode 0600, with its directory. kInvalid when there is one already.
  static Result<void> make(const std::string& path);

  [[nodiscard]] const std::array<unsigned char, kBytes>& bytes() const noexcept {
    return secret_.bytes;
  }
  [[nodiscard]] const Id& id() const noexcept { return id_; }
  [[nodiscard]] std::string id_text() const;
  [[nodiscard]] std::uint32_t owner_uid() const noexcept { return secret_.uid; }
  [[nodiscard]] std::uint32_t owner_gid() const noexcept { return secret_.gid; }
  [[nodiscard]] const std::string& path() const noexcept { return path_; }

 private:
  explicit Key(SecretFile secret) : secret_(std::move(secret)) {}

  SecretFile secret_;
  Id id_{};
  std::string path_;
};

/// Where a key is looked for, and the first one made: this user's configuration directory, then
/// the system's.
[[nodiscard]] std::vector<std::string> default_key_files();

/// The files that `text` names, separated by commas.
[[nodiscard]] std::vector<std::string> key_files(const std::string& text);

/// What this process can prove, and whom it believes. Connections share it.
class Trust {
 public:
  /// Key files are read now. What is wrong with them, or with `manager_user`, is told by whatever
  /// needs them: problem().
  static std::shared_ptr<const Trust> load(const TrustOptions& options);

  /// kDenied or kInvalid when what the options name cannot be used.
  [[nodiscard]] Result<void> problem() const;
  /// problem(), or kDenied when this process has nothing to prove itself with; says what would
  /// help.
  [[nodiscard]] Result<void> can_prove() const;

  [[nodiscard]] const std::vector<Key>& keys() const noexcept { return keys_; }
  [[nodiscard]] const Key* find(const Key::Id& id) const noexcept;
  /// Whether munged is there now.
  [[nodiscard]] bool munge() const;
  [[nodiscard]] bool insecure() const noexcept { return insecure_; }
  /// Whether a client takes a manager of that user for one of its cluster: root's, its own user's,
  /// or `manager_user`'s.
  [[nodiscard]] bool believes_manager_of(std::uint32_t uid) const noexcept;
  /// "key 0123456789abcdef (its file) or MUNGE".
  [[nodiscard]] std::string to_string() const;

 private:
  std::vector<Key> keys_;
  bool insecure_ = false;
  std::uint32_t self_ = kNobodyKnown;
  std::optional<std::uint32_t> manager_uid_;
  std::optional<Error> problem_;
};

}  // namespace sublet::wire
