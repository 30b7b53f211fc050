#include <base/clock.hpp>
#include <transport/common/client_wait.hpp>

#include <gtest/gtest.h>

#include <chrono>
#include <functional>
#include <string>
#include <vector>

namespace sublet::transport {
namespace {

using namespace std::chrono_literals;

/// A channel that says what a test wants, and counts.
struct ScriptedChannel {
  static constexpr std::uint32_t kPollsPerClock = 4;
  static constexpr bool kPausesBetweenPolls = false;

  Status poll(Ticket /*ticket*/, ReplyView& /*reply*/) noexcept {
    ++polls;
    on_event('p');
    return on_poll();
  }
  bool check_peer() noexcept {
    ++checks;
    on_event('c');
    return true;
  }
  void sleep_for(Ticket, std::chrono::nanoseconds limit) noexcept {  // tidy-allow: its name
    sleeps.push_back(limit);
    on_event('s');
    on_sleep();
  }
  [[nodiscard]] bool has_ended(Ticket /*ticket*/) const noexcept { return false; }
  [[nodiscard]] std::uint64_t parts_moved() const noexcept { return moved; }

  std::function<Status()> on_poll = [] { return Status::kAgain; };
  std::function<void()> on_sleep = [] {};
  std::function<void(char)> on_event = [](char) {};  ///< poll, check, sleep
  std::uint64_t moved = 0;
  std::uint64_t polls = 0;
  std::uint64_t checks = 0;
  std::vector<std::chrono::nanoseconds> sleeps;
};

Status wait(ScriptedChannel& channel, const WaitPolicy& policy,
            base::Deadline deadline = base::Deadline::after(30s)) {
  ClientWait wait(policy);
  ReplyView reply;
  return wait.run(channel, {1}, reply, deadline);
}

constexpr WaitPolicy kSleepAtOnce{.spin = 0ns, .sleep_slice = 5ms};

TEST(ClientWait, SaysWhatPollSays) {
  for (const Status status : {Status::kOk, Status::kInvalid}) {
    ScriptedChannel channel;
    channel.on_poll = [&] { return channel.polls == 3 ? status : Status::kAgain; };
    EXPECT_EQ(wait(channel, {}), status);
    EXPECT_EQ(channel.polls, 3u);
  }
}

TEST(ClientWait, PollsAndDoesNotSleepWhenItsDeadlineHasPassed) {
  ScriptedChannel channel;
  EXPECT_EQ(wait(channel, kSleepAtOnce, base::Deadline::after(0ns)), Status::kDeadline);
  EXPECT_EQ(channel.polls, ScriptedChannel::kPollsPerClock);
  EXPECT_TRUE(channel.sleeps.empty());
}

TEST(ClientWait, SleepsForASliceAndNeverBeyondItsDeadline) {
  ScriptedChannel channel;
  channel.on_poll = [&] { return channel.sleeps.size() == 3 ? Status::kOk : Status::kAgain; };
  EXPECT_EQ(wait(channel, kSleepAtOnce), Status::kOk);
  for (const auto limit : channel.sleeps) EXPECT_EQ(limit, kSleepAtOnce.sleep_slice);

  ScriptedChannel hurried;
  const WaitPolicy long_slices{.spin = 0ns, .sleep_slice = 1h};
  EXPECT_EQ(wait(hurried, long_slices, base::Deadline::after(20ms)), Status::kDeadline);
  for (const auto limit : hurried.sleeps) EXPECT_LE(limit, 20ms);
}

TEST(ClientWait, AsksForItsPeerAndPollsBeforeItSleepsAgain) {
  ScriptedChannel channel;
  const base::Ticks period = base::TickRate::get().from(tuning::kPeerCheck);
  channel.on_sleep = [&] {
    const base::Ticks end = base::ticks() + period;
    while (base::ticks() <= end) {
    }
  };
  std::string events;
  channel.on_event = [&](char event) {
    if (events.empty() || event != 'p' || events.back() != 'p') events += event;
  };
  channel.on_poll = [&] { return channel.checks == 3 ? Status::kOk : Status::kAgain; };
  EXPECT_EQ(wait(channel, kSleepAtOnce), Status::kOk);
  EXPECT_NE(events.find("sp"), std::string::npos) << events;
  EXPECT_EQ(events.find("sps"), std::string::npos) << events << ": it did not ask";
  EXPECT_EQ(events.find("cs"), std::string::npos) << events << ": it did not poll";
}

TEST(ClientWait, GoesOnSpinningWhileAPayloadMoves) {
  ScriptedChannel channel;
  const WaitPolicy policy{.spin = 1ms, .sleep_slice = 1ms};
  const base::Deadline moving = base::Deadline::after(5ms);
  channel.on_poll = [&] {
    ++channel.moved;
    return moving.passed() ? Status::kOk : Status::kAgain;
  };
  EXPECT_EQ(wait(channel, policy), Status::kOk);
  EXPECT_TRUE(channel.sleeps.empty());

  ScriptedChannel still;
  still.on_poll = [&] { return still.sleeps.empty() ? Status::kAgain : Status::kOk; };
  EXPECT_EQ(wait(still, policy), Status::kOk);
  EXPECT_EQ(still.sleeps.size(), 1u);
}

}  // namespace
}  // namespace sublet::transport
