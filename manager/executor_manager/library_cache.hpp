#pragma once

#include <base/fd.hpp>
#include <executor_manager/background_thread.hpp>
#include <sublet/result.hpp>
#include <wire/limits.hpp>

#include <kj/async.h>

#include <array>
#include <cstdint>
#include <list>
#include <memory>
#include <span>
#include <string>
#include <utility>

namespace sublet::manager {

using Sha256 = std::array<std::uint8_t, wire::kSha256Bytes>;

/// The function libraries that clients have sent, by content: sealed memfds, so that nothing lies
/// on a disk and nobody can change one after its hash was computed. The least recently used go
/// when there are more, or more bytes of them, than wire/limits.hpp allows.
///
/// Owner: the executor manager; on its loop. What takes long for a large library, the hash above
/// all, is done by a thread of the cache's own, so that the loop's other clients are answered
/// meanwhile. A library that a lease uses lives on while it does.
class LibraryCache {
 public:
  explicit LibraryCache(
      std::unique_ptr<BackgroundThread> thread = std::make_unique<BackgroundThread>(),
      std::size_t most_bytes = wire::kMaxCachedBytes)
      : most_bytes_(most_bytes), thread_(std::move(thread)) {}

  [[nodiscard]] std::size_t bytes() const noexcept { return bytes_; }

  /// Null when the content is not here.
  std::shared_ptr<base::Fd> find(const Sha256& sha256);
  /// The image that it names (SUBLET_IMAGE), as it stands there: hostile. Empty: none.
  [[nodiscard]] std::string image_of(const Sha256& sha256) const;

  /// What a content has to be.
  enum class Content : std::uint8_t { kLibrary, kProgram };

  /// Computes the hash and keeps the content. kInvalid when it is too large or not for this node.
  /// `content` must stay where it is until the promise resolves or is dropped; dropping it early
  /// waits for the piece that is being hashed.
  kj::Promise<Result<Sha256>> install(std::span<const std::byte> content,
                                      Content kind = Content::kLibrary);

 private:
  struct Entry {
    Sha256 sha256;
    std::shared_ptr<base::Fd> memory;
    std::size_t bytes = 0;
    std::string image;
  };
  class Examination;
  Sha256 keep(Entry entry);

  const std::size_t most_bytes_;
  std::list<Entry> entries_;  ///< Most recently used first.
  std::size_t bytes_ = 0;     ///< Of all of them.
  std::unique_ptr<BackgroundThread> thread_;
};

}  // namespace sublet::manager
