#pragma once

#include <client/pending_call.hpp>
#include <transport/arena.hpp>

#include <cstddef>
#include <memory>
#include <vector>

namespace sublet::client {

/// Lends arena memory to calls whose payloads lie in the application's own memory. A block is given
/// back once, by the call that took it, when no executor can write to it any more. Blocks of the
/// usual size are kept for the next call.
///
/// Owner: a lease's workers; used by the lease's thread.
class Staging {
 public:
  explicit Staging(std::shared_ptr<transport::Arena> arena) : arena_(std::move(arena)) {}
  ~Staging() { trim(); }
  Staging(const Staging&) = delete;
  Staging& operator=(const Staging&) = delete;

  /// Takes a block for `call` and copies its input there; false when the arena has no room now.
  [[nodiscard]] bool take(PendingCall& call, bool in, bool out) noexcept;
  /// Gives the block of `call` back, after copying the output of one that ended well.
  void give_back(PendingCall& call) noexcept;

  /// How many calls hold a block: when none does, waiting brings no room.
  [[nodiscard]] std::size_t lent() const noexcept { return lent_; }
  [[nodiscard]] const transport::Arena& arena() const noexcept { return *arena_; }

 private:
  [[nodiscard]] std::byte* allocate(std::size_t bytes) noexcept;
  void trim() noexcept;

  std::shared_ptr<transport::Arena> arena_;
  std::vector<std::byte*> kept_;  ///< Blocks of tuning::kStagingBytes that nobody uses.
  std::size_t lent_ = 0;
};

/// What a call's payloads take in the arena, bytes.
[[nodiscard]] std::size_t staging_bytes(const PendingCall& call, bool in, bool out) noexcept;

}  // namespace sublet::client
