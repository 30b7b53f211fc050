#pragma once

#include <common/auth/caller.hpp>
#include <common/types.hpp>

#include <cstdint>
#include <map>

namespace sublet::manager {

/// What each user holds now, has held of late, and uses today. No clock, no I/O.
///
/// SHARE   The average of the cores that a user held, in which what was `half_life` ago counts
/// half:
///           share(t) = held + (share(t0) - held) * 0.5^((t - t0) / half_life)
///         while `held` cores are held from t0 to t. It is HTCondor's "real user priority"
///         (HTCondor manual, "User Priorities and Negotiation").
/// DAY     From midnight to midnight, UTC. What is used is what nodes have reported, as for the
///         ledger. What is promised are the cores of leases that have not ended, times what is left
///         of their time today.
/// Users who are not proved are one user, kUnknownUid. Owner: the lease book; on its thread.
class UserAccounts {
 public:
  static constexpr milliseconds kHalfLife{3'600'000};

  struct Account {
    std::uint64_t held_cores = 0;
    std::uint64_t grants = 0;       ///< That have not ended.
    std::int64_t used_core_ms = 0;  ///< Today.
    // Of `grants`: sums of cores times their end, or the end of the day, in ms after it began.
    double promised_until_core_ms = 0;
    double share = 0;  ///< At `at`.
    Time at{};
  };

  /// A grant begins, or ends. Both with the same end, unless extended() has been told of another.
  void take(std::uint32_t uid, std::uint32_t cores, Time expires, Time now);
  void give_back(std::uint32_t uid, std::uint32_t cores, Time expires, Time now);
  void extended(std::uint32_t uid, std::uint32_t cores, Time before, Time after);
  /// So much more has been used.
  void used(std::uint32_t uid, std::int64_t core_ms);

  /// True once a new day has begun: nothing has been used, and what is promised begins with what
  /// promise() is told of each grant.
  [[nodiscard]] bool begin_day(Time now);
  void promise(std::uint32_t uid, std::uint32_t cores, Time expires);

  /// Null: this user has nothing, and had nothing of late.
  [[nodiscard]] const Account* find(std::uint32_t uid) const;
  [[nodiscard]] double share(std::uint32_t uid, Time now) const;
  /// Core-milliseconds of leases that this user has, until they or this day end.
  [[nodiscard]] double promised_core_ms(std::uint32_t uid, Time now) const;
  /// The same of a lease that would begin now.
  [[nodiscard]] double need_core_ms(std::uint64_t cores, Time expires, Time now) const;
  [[nodiscard]] const std::map<std::uint32_t, Account>& all() const { return accounts_; }
  [[nodiscard]] std::uint64_t held_cores() const { return held_cores_; }
  /// Forgets users who have nothing, and had next to nothing of late.
  void forget_idle(Time now);

 private:
  Account& account(std::uint32_t uid, Time now);
  [[nodiscard]] double until_ms(Time expires) const;

  std::map<std::uint32_t, Account> accounts_;
  std::uint64_t held_cores_ = 0;
  Time day_{};  ///< When it began.
};

}  // namespace sublet::manager
