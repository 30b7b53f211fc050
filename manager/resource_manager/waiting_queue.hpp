#pragma once

// clang-format off
// RULE    Each user's requests of one priority wait in a line, the first come first. The lines are
//         ordered by
//           1. priority, plus one for each whole `aging` that the line's first request has been its
//              first;
//           2. what the user has held of late (user_accounts.hpp), the least first;
//           3. since when the line's first request has been its first.
//         A request that does not fit is passed over by those behind it that do. One that has been
//         raised by (1) is not: what comes free is kept for it (lease_desk.hpp).
// WHY     No request starves, whatever comes after it: a line's first request rises above all
//         priorities that there are, then nothing is given to those behind it, and what it waits for
//         comes free as leases end. Those that are before it are finitely many, and end the same way,
//         or with their deadlines. (Aging as in multilevel queues and Slurm's multifactor priority;
//         keeping what is free for the first in place of a reservation at a time, as EASY backfilling
//         has it, because leases may be extended: Mualem and Feitelson, IEEE TPDS 12(6), 2001.)
// COST    Logarithmic in the number of lines, for each event; refresh() looks at all.
// LIMITS  WaitingQueue::Limits, and wire/limits.hpp.
// clang-format on

#include <common/grant_terms.hpp>
#include <sublet/lease.hpp>
#include <sublet/result.hpp>
#include <wire/limits.hpp>

#include <compare>
#include <cstddef>
#include <functional>
#include <list>
#include <map>
#include <optional>
#include <set>
#include <string>
#include <utility>
#include <vector>

namespace sublet::manager {

/// A request that waits for cores.
struct WaitingRequest {
  LeaseId number{};  ///< What it is known by; that of its lease, as a rule.
  LeaseRequest request;
  Requester requester;
  Time asked{};
  Time deadline{};
  /// Since when it has been the first of its line. Who puts it back into the queue puts it there as
  /// it was.
  std::optional<Time> first_since{};
  Time not_before{};  ///< It is not served, and nothing is kept for it.

  [[nodiscard]] std::uint64_t cores() const noexcept {
    return std::uint64_t{request.cores} * request.cores_per_worker * request.parts;
  }
  [[nodiscard]] std::uint64_t gpus() const noexcept {
    return std::uint64_t{request.cores} * request.gpus_per_worker * request.parts;
  }
};

/// Requests that wait, in the order in which they are served. No clock, no I/O.
///
/// Owner: the lease desk; on its thread.
class WaitingQueue {
 public:
  struct Limits {
    milliseconds aging{120'000};
    std::size_t all = wire::kMaxWaiting;
    std::size_t of_user = wire::kMaxWaitingOfUser;
  };
  /// What a user has held of late, now.
  using Share = std::function<double(std::uint32_t uid)>;

  /// Where a line stands: the least is served first.
  struct Rank {
    std::int64_t negative_priority = 0;
    double share = 0;
    Time since{};
    LeaseId number{};

    auto operator<=>(const Rank&) const = default;
  };
  struct Line {
    std::list<WaitingRequest> requests;
    Rank rank;
    bool raised = false;  ///< By time: nothing is given to those behind it.
    // For the desk, of the first request:
    Time looked{};          ///< When all nodes were looked at for it.
    Time checked{};         ///< When it was found out that it is
    bool possible = false;  ///< possible: it would fit if all nodes were free.
  };

  WaitingQueue(const Limits& limits, Share share) : limits_(limits), share_(std::move(share)) {}

  /// Lines are in the order of it after the next refresh().
  void set_aging(milliseconds aging) { limits_.aging = aging; }

  /// kOverloaded: as many wait as may.
  Result<void> add(WaitingRequest request, Time now);
  std::optional<WaitingRequest> remove(LeaseId number, Time now);
  /// Those whose time is over.
  std::vector<WaitingRequest> expire(Time now);
  /// What this user has held has changed.
  void reorder(std::uint32_t uid, Time now);
  /// Time has passed: priorities rise, and shares change. Call it a few times a second.
  void refresh(Time now);

  [[nodiscard]] bool empty() const { return places_.empty(); }
  [[nodiscard]] std::size_t size() const { return places_.size(); }
  [[nodiscard]] std::size_t of_user(std::uint32_t uid) const;
  /// Lines in their order, as of the last refresh or change of each.
  [[nodiscard]] const std::set<std::pair<Rank, Line*>>& lines() const { return order_; }
  /// Where a request that comes now would stand, were it alone in its line.
  [[nodiscard]] Rank rank_of(const LeaseRequest& request, std::uint32_t uid, Time now) const;
  [[nodiscard]] const WaitingRequest* find(LeaseId number) const;
  /// All, in the order in which they are served if nothing changes, those of one line side by side.
  [[nodiscard]] std::vector<const WaitingRequest*> all() const;

 private:
  /// Users' requests of one priority.
  using Key = std::pair<std::uint32_t, std::int32_t>;
  struct Place {
    Key line;
    std::list<WaitingRequest>::iterator request;
  };
  void rank(Line& line, Time now);
  void unrank(Line& line);

  Limits limits_;
  Share share_;
  std::map<Key, Line> lines_;
  std::set<std::pair<Rank, Line*>> order_;
  std::map<LeaseId, Place> places_;
  std::set<std::pair<Time, LeaseId>> deadlines_;
  std::map<std::uint32_t, std::size_t> users_;
};

}  // namespace sublet::manager
