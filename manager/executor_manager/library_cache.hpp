#pragma once

#include <base/fd.hpp>
#include <sublet/result.hpp>
#include <wire/limits.hpp>

#include <array>
#include <cstdint>
#include <list>
#include <memory>
#include <span>

namespace sublet::manager {

using Sha256 = std::array<std::uint8_t, wire::kSha256Bytes>;

/// The function libraries that clients have sent, by content: sealed memfds, so that nothing lies
/// on a disk and nobody can change one after its hash was computed. The least recently used go
/// first.
///
/// Owner: the executor manager; on its loop. A library that a lease uses lives on while it does.
class LibraryCache {
 public:
  /// Null when the content is not here.
  std::shared_ptr<base::Fd> find(const Sha256& sha256);

  /// Computes the hash and keeps the content. kInvalid when it is too large or no library for this
  /// node.
  Result<Sha256> install(std::span<const std::byte> content);

 private:
  struct Entry {
    Sha256 sha256;
    std::shared_ptr<base::Fd> memory;
  };
  std::list<Entry> entries_;  ///< Most recently used first.
};

}  // namespace sublet::manager
