#pragma once

// clang-format off
// PROTOCOL  Who gets cores, and when. `reserve` gives them at once, or says why not. Who can wait then
//           calls `wait`, and is named by `serve` when its turn has come, or by `expire` when its time is
//           over: exactly once, unless `leave` has taken it away.
// RULE      The order is waiting_queue.hpp's. A request that time has raised, that its user's quota
//           allows and that would fit if all nodes were free, has what is free kept for it: nothing is
//           given to those behind it, nor to new requests that would stand behind it.
// QUOTAS    A request is refused when its user would hold more cores than he may, or when what he has
//           used today, what is promised to his leases and what is asked for are more core-seconds than
//           he may use in a day. It waits if it may, unless his quota will never allow it. An extension
//           is refused the same way.
// LIMITS    Of looks for one event: kMostLooks lines. All nodes are looked at for one request at most
//           once in kLookAgain; in between only those that are found at once.
// clang-format on

#include <resource_manager/lease_book.hpp>
#include <resource_manager/waiting_queue.hpp>
#include <wire/quota_info.hpp>

#include <functional>
#include <map>
#include <optional>
#include <set>
#include <string>
#include <vector>

namespace sublet::manager {

using wire::LeaseQuota;

/// Decides on requests for leases. No clock, no I/O.
///
/// Owner: the resource manager's service, as the book; on its thread.
class LeaseDesk {
 public:
  struct Limits {
    WaitingQueue::Limits queue{};
    LeaseQuota everybody{};  ///< Of users who have no quota of their own; not of operators.
  };
  /// That the quota of everybody is not this user's.
  using Exempt = std::function<bool(std::uint32_t uid)>;

  /// `book` outlives it. `operators`: for texts, who can change a quota.
  LeaseDesk(LeaseBook& book, const Limits& limits, Exempt exempt, std::string operators);

  /// As LeaseBook::reserve, where neither quotas nor those who wait are in the way. kDenied: the
  /// user's quota will never allow it.
  Result<std::vector<GrantTerms>> reserve(const LeaseRequest& request, const Requester& requester,
                                          Time now, const std::set<NodeNumber>& excluded = {});
  /// kDenied, kOverloaded: the quota of the lease's owner does not allow it.
  [[nodiscard]] Result<void> may_extend(LeaseId lease, milliseconds duration, Time now) const;

  // ---- Waiting ----

  /// From now on it waits, until its deadline. kOverloaded: too many do.
  Result<void> wait(WaitingRequest request, Time now);
  /// Its client has gone, or wants it no more. False: it does not wait.
  bool leave(LeaseId number, Time now) { return queue_.remove(number, now).has_value(); }
  struct Served {
    WaitingRequest request;
    std::vector<GrantTerms> grants;
  };
  /// Those whose turn has come. Call it when cores have come free, and a few times a second.
  std::vector<Served> serve(Time now);
  struct Expired {
    WaitingRequest request;
    Error error;
  };
  std::vector<Expired> expire(Time now);
  /// Time has passed.
  void refresh(Time now) { queue_.refresh(now); }

  // ---- Quotas ----

  /// What the options say now. The quota of everybody stays where set_quota() has set it.
  void set_limits(const Limits& limits);
  [[nodiscard]] LeaseQuota quota_of(std::uint32_t uid) const;
  [[nodiscard]] const LeaseQuota& everybody() const { return everybody_; }
  /// kOverloaded: as many users have one of their own as may.
  Result<void> set_quota(const wire::QuotaOrder& order);
  /// Everybody's, then of each user (or of `only`) who has something, waits, or has a quota of his
  /// own. Names are left out.
  [[nodiscard]] std::vector<wire::QuotaInfo> quotas(std::optional<std::uint32_t> only,
                                                    Time now) const;

  // ---- Looking ----

  [[nodiscard]] const WaitingQueue& queue() const { return queue_; }
  /// Those that wait, as `sublet leases` shows them: of user `of`, or of all.
  [[nodiscard]] std::vector<LeaseInfo> waiting(std::optional<std::uint32_t> of, Time now) const;

 private:
  /// That this user may have `cores` from then until then, `more_cores` of which he does not hold.
  [[nodiscard]] Result<void> check_quota(std::uint32_t uid, std::uint64_t cores,
                                         std::uint64_t more_cores, Time from, Time until,
                                         Time now) const;
  [[nodiscard]] Result<void> check_quota(const LeaseRequest& request, std::uint32_t uid,
                                         Time now) const;
  /// The request for which what is free is kept from one that stands at `rank`; null: none.
  const WaitingRequest* kept_for(const WaitingQueue::Rank& rank, Time now);
  [[nodiscard]] bool is_kept_for(WaitingQueue::Line& line, Time now);
  std::optional<std::vector<GrantTerms>> try_first(WaitingQueue::Line& line, Time now);
  [[nodiscard]] std::string holders_text(std::uint32_t uid) const;

  LeaseBook& book_;
  Exempt exempt_;
  std::string operators_;
  LeaseQuota everybody_;
  bool everybody_set_ = false;  ///< By set_quota().
  std::map<std::uint32_t, LeaseQuota> own_;
  WaitingQueue queue_;
};

}  // namespace sublet::manager
