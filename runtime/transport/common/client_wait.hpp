#pragma once

#include <base/clock.hpp>
#include <base/uncancelled.hpp>
#include <transport/contention.hpp>
#include <transport/contract.hpp>
#include <transport/tuning.hpp>

#include <sched.h>

#include <algorithm>
#include <chrono>
#include <cstdint>

namespace sublet::transport {

/// How a client waits for a call: it spins, makes room when cores are short, sleeps, and asks from
/// time to time whether its peer is there. Off the hot path: a channel's wait() first polls for as
/// long as a small call takes.
///
/// A channel that uses it makes it a friend and has, beside the contract's poll and check_peer:
///   kPollsPerClock       polls between two looks at the clock
///   kPausesBetweenPolls  false where a poll is pause enough
///   sleep_for(ticket, limit)
///       Sleeps until the call may have ended, at most for `limit`. Takes note of whatever else
///       ended the sleep: the next one must not end at once for the same reason.
///   has_ended(ticket)    whether a poll would be kOk, without looking for news
///   parts_moved()        changes whenever a part of a payload has been moved: the next part is
///                        near then, and a sleep for each would cost more than it does
///
/// Owner and user: one client's channel.
class ClientWait {
 public:
  /// `contended_spin`: see tuning::kContendedSpin.
  explicit ClientWait(const WaitPolicy& policy,
                      std::chrono::nanoseconds contended_spin = tuning::kContendedSpin) noexcept
      : policy_(policy), contended_spin_(std::min(contended_spin, policy.spin)) {}

  /// What the channel's poll says once it is not kAgain, or kDeadline when that passes first.
  template <class Channel>
  [[nodiscard]] Status run(Channel& channel, Ticket ticket, ReplyView& reply,
                           base::Deadline deadline) noexcept {
    const base::Uncancelled uncancelled;
    const base::Ticks start = base::ticks();
    Progress progress{start, channel.parts_moved()};
    contention_.restart(start);
    for (;;) {
      for (std::uint32_t i = 0; i < Channel::kPollsPerClock; ++i) {
        if (const Status status = channel.poll(ticket, reply); status != Status::kAgain) {
          return status;
        }
        if constexpr (Channel::kPausesBetweenPolls) base::cpu_pause();
      }
      const base::Ticks now = base::ticks();
      if (deadline.passed(now)) return Status::kDeadline;
      step(channel, ticket, progress, now, deadline);
    }
  }

 private:
  struct Progress {
    base::Ticks spinning_since;
    std::uint64_t parts_moved;
  };

  template <class Channel>
  void step(Channel& channel, Ticket ticket, Progress& progress, base::Ticks now,
            base::Deadline deadline) noexcept {
    const base::TickRate& rate = base::TickRate::get();
    if (now - peer_checked_ > rate.from(tuning::kPeerCheck)) {
      peer_checked_ = now;
      (void)channel.check_peer();
      return;  // what it has found is polled for before any sleep
    }
    const bool cores_short = contention_.observe(now);
    if (cores_short) ::sched_yield();
    if (const std::uint64_t moved = channel.parts_moved(); moved != progress.parts_moved) {
      progress.parts_moved = moved;
      progress.spinning_since = now;
    }
    const auto patience = cores_short ? contended_spin_ : policy_.spin;
    if (now - progress.spinning_since <= rate.from(patience)) return;
    channel.sleep_for(ticket, std::min(deadline.left(), policy_.sleep_slice));
    const base::Ticks awake = base::ticks();
    // Who sleeps at once learns nothing about spinning.
    if (policy_.spin >= tuning::kDescheduledGap && channel.has_ended(ticket)) {
      contention_.served_asleep(now, awake);
    }
    contention_.restart(awake);
  }

  WaitPolicy policy_;
  std::chrono::nanoseconds contended_spin_;
  Contention contention_;
  base::Ticks peer_checked_ = base::ticks();  ///< Over all waits: they may all be short.
};

}  // namespace sublet::transport
