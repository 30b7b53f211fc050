#pragma once

#include <kj/async.h>
#include <kj/timer.h>

#include <cstddef>
#include <list>

namespace sublet::manager {

/// The order in which messages of busy connections are handled: first come, first served, and only
/// so many in a millisecond: fewer while some have to wait, as then there is a crowd. What is left
/// of the loop is for connections that say little, and for those that hold something.
///
/// Owner: as ConnectionTable. On the loop.
class MessageLane {
 public:
  MessageLane() = default;
  KJ_DISALLOW_COPY(MessageLane);

  /// Resolves when it is a message's turn. `timer` outlives the lane.
  kj::Promise<void> enter(kj::Timer& timer);

 private:
  static constexpr unsigned kOfACrowd = 8;
  static constexpr unsigned kOfAFew = 16;  ///< A client that leases without pause sends fewer.
  kj::Promise<void> serve(kj::Timer& timer);

  std::list<kj::Own<kj::PromiseFulfiller<void>>> waiting_;
  unsigned served_ = 0;  ///< In this millisecond.
  bool serving_ = false;
  kj::Promise<void> service_ = nullptr;  ///< Counts milliseconds while messages come.
};

/// Tells a busy connection from one that has something to say now and then.
class MessageRate {
 public:
  /// A message has come. True when there have been more of late than quiet connections send.
  bool is_busy(kj::TimePoint now);

 private:
  static constexpr std::size_t kBurst = 16;  ///< What opening a session and leasing takes.
  static constexpr kj::Duration kOneMoreAfter = 50 * kj::MILLISECONDS;

  std::size_t left_ = kBurst;
  kj::TimePoint since_ = kj::origin<kj::TimePoint>();
};

}  // namespace sublet::manager
