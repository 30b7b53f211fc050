#pragma once

// Files that hold one secret of 32 bytes: a comment, then a line "WORD BASE64", mode 0600.

#include <sublet/result.hpp>

#include <sys/types.h>

#include <array>
#include <string>

namespace sublet::wire {

inline constexpr std::size_t kSecretBytes = 32;

/// How the files of one kind look, and what their errors advise.
struct SecretFileKind {
  const char* what;    ///< "key file", for texts.
  const char* word;    ///< How the line begins, with a space at the end.
  const char* about;   ///< The comment, with its line end.
  const char* advice;  ///< How to get a new one: "`sublet key new` makes one".
};

/// What a file held. The bytes are wiped when it goes.
struct SecretFile {
  SecretFile() = default;
  SecretFile(SecretFile&& other) noexcept;
  SecretFile& operator=(SecretFile&&) = delete;
  ~SecretFile();

  std::array<unsigned char, kSecretBytes> bytes{};
  uid_t uid = 0;  ///< Whose file it is.
  gid_t gid = 0;

  /// kDenied when others may read it or it is neither this user's nor root's (for root: it may be
  /// anybody's); kInvalid when it holds no secret of that kind or cannot be read, with the errno.
  static Result<SecretFile> read(const std::string& path, const SecretFileKind& kind);
  /// A new file with a random secret, on disk when this returns, and its directory. kInvalid, with
  /// EEXIST, when there is one already.
  static Result<void> make(const std::string& path, const SecretFileKind& kind);
};

}  // namespace sublet::wire
