#pragma once

#include <kj/async.h>
#include <kj/timer.h>

#include <chrono>
#include <cstddef>
#include <list>

namespace sublet::manager {

/// The order in which messages of busy connections are handled: first come, first served, and only
/// so many in a millisecond. What is left of the loop is for connections that say little, and for
/// those that hold something.
///
/// Owner: as ConnectionTable. On the loop.
class MessageLane {
 public:
  MessageLane() = default;
  KJ_DISALLOW_COPY(MessageLane);

  /// Resolves when it is a message's turn: at once for a connection, `who`, that is busy alone.
  /// `timer` outlives the lane.
  kj::Promise<void> enter(kj::Timer& timer, const void* who);

 private:
  static constexpr unsigned kAtATime = 4;
  kj::Promise<void> serve(kj::Timer& timer);

  std::list<kj::Own<kj::PromiseFulfiller<void>>> waiting_;
  const void* last_ = nullptr;  ///< Who came last; not looked into.
  bool serving_ = false;
  kj::Promise<void> service_ = nullptr;  ///< Runs while somebody waits, and a moment longer.
};

/// Tells a busy connection from one that has something to say now and then.
class MessageRate {
 public:
  /// A message has come. True when there have been more of late than quiet connections send.
  bool is_busy(std::chrono::steady_clock::time_point now);

 private:
  static constexpr std::size_t kBurst = 16;  ///< What opening a session and leasing takes.
  static constexpr auto kOneMoreAfter = std::chrono::milliseconds(50);

  std::size_t left_ = kBurst;
  std::chrono::steady_clock::time_point since_{};
};

}  // namespace sublet::manager
