#include <client/call_states.hpp>
#include <client/pending_call.hpp>

#include <gtest/gtest.h>

#include <map>
#include <utility>
#include <vector>

namespace sublet::client {
namespace {

using S = CallState;
using E = CallEvent;

const std::map<std::pair<S, E>, S>& allowed() {
  static const std::map<std::pair<S, E>, S> kAllowed = {
      {{S::kIdle, E::kStarted}, S::kQueued},          {{S::kQueued, E::kAccepted}, S::kSubmitted},
      {{S::kQueued, E::kRefused}, S::kEnded},         {{S::kSubmitted, E::kReplied}, S::kEnded},
      {{S::kSubmitted, E::kExecutorDied}, S::kDying}, {{S::kDying, E::kExecutorDied}, S::kDying},
      {{S::kDying, E::kSettled}, S::kEnded},          {{S::kDying, E::kRunAgain}, S::kQueued},
      {{S::kEnded, E::kCollected}, S::kIdle},
  };
  return kAllowed;
}

TEST(CallStates, HaveNoWayButThoseOfTheTable) {
  for (std::size_t s = 0; s < kCallStates; ++s) {
    for (std::size_t e = 0; e < kCallEvents; ++e) {
      const auto state = static_cast<S>(s);
      const auto event = static_cast<E>(e);
      const auto found = allowed().find({state, event});
      const S wanted = found == allowed().end() ? S::kImpossible : found->second;
      EXPECT_EQ(next(state, event), wanted) << "state " << s << ", event " << e;
    }
  }
}

// From any state a call reaches its end, and from there only the application takes it on.
TEST(CallStates, AllLeadToTheEnd) {
  std::vector<bool> reaches(kCallStates, false);
  reaches[static_cast<std::size_t>(S::kEnded)] = true;
  for (std::size_t round = 0; round < kCallStates; ++round) {
    for (const auto& [from, to] : allowed()) {
      if (reaches[static_cast<std::size_t>(to)]) {
        reaches[static_cast<std::size_t>(from.first)] = true;
      }
    }
  }
  for (std::size_t s = 0; s < kCallStates; ++s) EXPECT_TRUE(reaches[s]) << s;
  for (const auto& [from, to] : allowed()) {
    if (from.first == S::kEnded) {
      EXPECT_EQ(from.second, E::kCollected);
    }
  }
}

TEST(CallList, KeepsItsOrder) {
  PendingCall a;
  PendingCall b;
  PendingCall c;
  CallList list;
  EXPECT_TRUE(list.empty());
  EXPECT_EQ(list.pop_front(), nullptr);
  list.push_back(b);
  list.push_front(a);
  list.push_back(c);
  EXPECT_EQ(list.pop_front(), &a);
  list.push_front(a);
  EXPECT_EQ(list.pop_front(), &a);
  EXPECT_EQ(list.pop_front(), &b);
  EXPECT_EQ(list.pop_front(), &c);
  EXPECT_TRUE(list.empty());
  list.push_front(b);
  list.push_back(c);
  EXPECT_EQ(list.pop_front(), &b);
  EXPECT_EQ(list.pop_front(), &c);
}

}  // namespace
}  // namespace sublet::client
