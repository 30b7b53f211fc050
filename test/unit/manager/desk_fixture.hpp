#pragma once

// The lease desk over a book with nodes of a test, at a time that the test moves: no I/O.

#include <resource_manager/lease_desk.hpp>

#include <gtest/gtest.h>

#include <algorithm>
#include <map>
#include <random>
#include <string>
#include <utility>
#include <vector>

namespace sublet::manager {

class DeskTest : public testing::Test {
 protected:
  static constexpr std::uint32_t kOperator = 77;

  NodeNumber join(std::uint32_t cores, std::uint64_t memory = std::uint64_t{1} << 40) {
    const std::string name = "n" + std::to_string(++nodes_);
    return book_
        .register_node({name, "boot/" + name, cores, memory, "0", {"unix:@" + name}}, {}, now_)
        .value_or_throw()
        .node;
  }
  static LeaseRequest ask(std::uint32_t cores, milliseconds wait = std::chrono::hours(24),
                          std::int32_t priority = 0) {
    LeaseRequest request;
    request.cores = cores;
    request.memory_bytes = 0;
    request.duration = std::chrono::hours(1);
    request.placement = Placement::kPack;
    request.wait = wait;
    request.priority = priority;
    return request;
  }
  static Requester user(std::uint32_t uid) {
    Requester requester;
    requester.caller = {uid, uid, 1, "", Proof::kPeerCredentials};
    requester.owner = "u" + std::to_string(uid) + "@here";
    return requester;
  }
  /// At once, or not.
  Result<LeaseId> take(std::uint32_t uid, const LeaseRequest& request) {
    auto grants = desk_.reserve(request, user(uid), now_);
    if (!grants) return tl::unexpected<Error>(std::move(grants.error()));
    return hold(std::move(*grants));
  }
  LeaseId take(std::uint32_t uid, std::uint32_t cores) {
    return take(uid, ask(cores)).value_or_throw();
  }
  LeaseId hold(std::vector<GrantTerms> grants) {
    const LeaseId lease = grants.front().key.lease;
    for (const GrantTerms& terms : grants) {
      book_.confirmed(terms.key, now_);
      book_.claimed(terms.key);
    }
    held_[lease] = std::move(grants);
    return lease;
  }
  void give_back(LeaseId lease, Usage usage = {}) {
    auto grants = held_.extract(lease);
    for (const GrantTerms& terms : grants.mapped()) book_.ended(terms.key, usage, "released");
  }
  /// It waits; its number.
  Result<LeaseId> wait(std::uint32_t uid, const LeaseRequest& request) {
    const LeaseId number = book_.new_number();
    auto added = desk_.wait({.number = number,
                             .request = request,
                             .requester = user(uid),
                             .asked = now_,
                             .deadline = now_ + request.wait},
                            now_);
    if (!added) return tl::unexpected<Error>(std::move(added.error()));
    return number;
  }
  LeaseId wait(std::uint32_t uid, std::uint32_t cores, std::int32_t priority = 0) {
    return wait(uid, ask(cores, std::chrono::hours(24), priority)).value_or_throw();
  }
  /// Whose turn has come, by users.
  std::vector<std::uint32_t> serve() {
    std::vector<std::uint32_t> users;
    for (LeaseDesk::Served& served : desk_.serve(now_)) {
      users.push_back(served.request.requester.caller.uid);
      last_ = hold(std::move(served.grants));
    }
    return users;
  }
  void pass(milliseconds time) {
    now_ += time;
    for (const NodeInfo& node : book_.nodes().views(now_)) {
      (void)book_.heartbeat(*book_.nodes().find(node.node_id), now_);
    }
    (void)book_.tick(now_);
    desk_.refresh(now_);
  }
  void set_quota(std::uint32_t uid, std::optional<std::uint64_t> cores,
                 std::optional<std::uint64_t> core_seconds) {
    ASSERT_TRUE(desk_.set_quota({.everybody = uid == 0,
                                 .uid = uid,
                                 .clear = false,
                                 .set_cores = true,
                                 .set_core_seconds = true,
                                 .quota = {cores, core_seconds}}));
  }

  /// 12:00 UTC.
  Time now_{std::chrono::sys_days{std::chrono::year(2026) / 12 / 1} + std::chrono::hours(12)};
  LeaseBook book_{LeaseBook::Limits{}, LeaseId{1000},
                  [engine = std::mt19937_64(7)](std::span<std::byte> bytes) mutable {
                    for (std::byte& byte : bytes) byte = static_cast<std::byte>(engine());
                  }};
  LeaseDesk desk_{book_, LeaseDesk::Limits{}, [](std::uint32_t uid) { return uid == kOperator; },
                  "root"};
  std::map<LeaseId, std::vector<GrantTerms>> held_;
  LeaseId last_{};  ///< That was served.
  int nodes_ = 0;
};

inline void expect_says(const Error& error, const std::string& part) {
  EXPECT_NE(std::string(error.what()).find(part), std::string::npos)
      << "'" << part << "' is not in: " << error.what();
}

}  // namespace sublet::manager
