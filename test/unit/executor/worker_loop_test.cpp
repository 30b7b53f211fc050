// The worker's loop over a channel that is a script: what no real client can be made to send, and
// when the loop spins or sleeps.

#include <executor/worker_datapath.hpp>

#include <gtest/gtest.h>

#include <cstring>
#include <functional>
#include <limits>
#include <string>
#include <vector>

namespace sublet::executor {
namespace {

/// Hands out invocations and notes what becomes of them. Closed when they have run out.
class ScriptedChannel {
 public:
  struct Step {
    transport::Invocation invocation;
    int idle_polls = 0;  ///< Polls in vain before it is there.
    bool after_sleep = false;
  };
  struct Ended {
    std::uint32_t sequence;
    transport::Completion completion;
    std::string error;
    std::string output;
  };

  bool poll(transport::Invocation& invocation) noexcept {
    if (next_ == steps.size()) {
      open_ = false;
      return false;
    }
    Step& step = steps[next_];
    if (step.after_sleep || step.idle_polls-- > 0) return false;
    invocation = step.invocation;
    invocation.sequence = static_cast<std::uint32_t>(++next_);
    return true;
  }
  void complete(const transport::Invocation& invocation,
                const transport::Completion& completion) noexcept {
    std::string output;
    if (invocation.out_is_inline && completion.status == Status::kOk) {
      output.assign(static_cast<const char*>(invocation.out), invocation.out_capacity);
    }
    ended.push_back({invocation.sequence, completion, std::string(completion.error), output});
  }
  void complete_dying(std::uint32_t, Status, std::string_view) noexcept { ADD_FAILURE(); }
  void sleep(std::chrono::nanoseconds limit) noexcept {  // tidy-allow: the contract's method
    EXPECT_LE(limit, std::chrono::seconds(1));
    ++sleeps;
    if (next_ < steps.size()) steps[next_].after_sleep = false;
  }
  void interrupt() noexcept { open_ = false; }
  void retire() noexcept { open_ = false; }
  [[nodiscard]] bool is_open() const noexcept { return open_; }

  std::vector<Step> steps;
  std::vector<Ended> ended;
  int sleeps = 0;

 private:
  std::size_t next_ = 0;
  bool open_ = true;
};
static_assert(transport::ServerChannel<ScriptedChannel>);

std::uint32_t echo(void* args, std::uint32_t size, void* res) {
  std::memcpy(res, args, size);
  return size;
}

std::uint32_t say_nothing(void*, std::uint32_t, void*) {
  return 0;
}

class WorkerLoopTest : public testing::Test {
 protected:
  WorkerLoopTest() {
    EXPECT_TRUE(functions_.add(0, "echo", reinterpret_cast<void*>(&echo), FunctionForm::kRfaas,
                               std::chrono::milliseconds(0)));
    EXPECT_TRUE(functions_.add(1, "say_nothing", reinterpret_cast<void*>(&say_nothing),
                               FunctionForm::kRfaas, std::chrono::milliseconds(0)));
    state_.functions = &functions_;
    state_.counters = &counters_;
    state_.rate = base::TickRate::get();
    state_.hot_ticks = std::numeric_limits<base::Ticks>::max();
    state_.scratch = scratch_.data();
  }

  /// A call of echo with an inline output.
  static ScriptedChannel::Step call(int idle_polls = 0, bool after_sleep = false) {
    transport::Invocation invocation;
    invocation.in = "hello";
    invocation.in_size = 5;
    invocation.out_capacity = 5;
    invocation.out_is_inline = true;
    invocation.traced = true;
    return {invocation, idle_polls, after_sleep};
  }
  void serve() { WorkerLoop(channel_, state_).serve(); }

  FunctionTable functions_;
  wire::WorkerCounters counters_{};
  std::array<std::byte, 64> scratch_{};
  WorkerState state_;
  ScriptedChannel channel_;
};

TEST_F(WorkerLoopTest, AnswersInOrderAndCounts) {
  channel_.steps = {call(), call(3), call(100)};
  serve();
  ASSERT_EQ(channel_.ended.size(), 3u);
  for (std::uint32_t i = 0; i < 3; ++i) {
    EXPECT_EQ(channel_.ended[i].sequence, i + 1);
    EXPECT_EQ(channel_.ended[i].completion.status, Status::kOk);
    EXPECT_EQ(channel_.ended[i].completion.size, 5u);
    EXPECT_EQ(channel_.ended[i].output, "hello");
  }
  EXPECT_EQ(counters_.invocations, 3u);
  EXPECT_EQ(counters_.bytes_in, 15u);
  EXPECT_EQ(counters_.bytes_out, 15u);
  EXPECT_EQ(state_.channel.load(), nullptr);
}

TEST_F(WorkerLoopTest, CountsEachCallByHowLongItRan) {
  channel_.steps = {call(), call(), call(3)};
  auto unknown = call();
  unknown.invocation.function = 9;
  channel_.steps.push_back(unknown);
  serve();
  wire::CallTimes expected;
  for (std::size_t i = 0; i < 3; ++i) {
    ++expected.calls[wire::call_time_bucket(channel_.ended[i].completion.exec_ns)];
  }
  EXPECT_EQ(counters_.call_times, expected.calls);
}

TEST_F(WorkerLoopTest, TakesOneStampForCallsThatFollowEachOther) {
  channel_.steps = {call(), call(), call(1)};
  serve();
  ASSERT_EQ(channel_.ended.size(), 3u);
  EXPECT_EQ(channel_.ended[1].completion.started, channel_.ended[0].completion.ended);
  EXPECT_GT(channel_.ended[2].completion.started, channel_.ended[1].completion.ended);
}

TEST_F(WorkerLoopTest, RefusesWithoutRunning) {
  auto malformed = call();
  malformed.invocation.verdict = Status::kInvalid;
  auto unknown = call();
  unknown.invocation.function = 2;
  auto both = unknown;
  both.invocation.verdict = Status::kInvalid;
  channel_.steps = {malformed, unknown, both};
  serve();
  ASSERT_EQ(channel_.ended.size(), 3u);
  EXPECT_EQ(channel_.ended[0].completion.status, Status::kInvalid);
  EXPECT_EQ(channel_.ended[0].error,
            "the request is malformed: its input of 5 or its output of 5 bytes does not "
            "lie in the channel's arena");
  EXPECT_EQ(channel_.ended[1].completion.status, Status::kUnknownFunction);
  EXPECT_EQ(channel_.ended[2].completion.status, Status::kInvalid);
  EXPECT_EQ(counters_.invocations, 0u);
}

TEST_F(WorkerLoopTest, RefusesInputsThatTheRfaasFormCannotTake) {
  auto large = call();
  large.invocation.in_size = std::uint64_t{1} << 32;
  channel_.steps = {large};
  serve();
  ASSERT_EQ(channel_.ended.size(), 1u);
  EXPECT_EQ(channel_.ended[0].completion.status, Status::kInvalid);
  EXPECT_EQ(channel_.ended[0].error,
            "function 'echo' has the rFaaS form, whose input has at most 4294967295 bytes; it was "
            "given 4294967296");
}

TEST_F(WorkerLoopTest, ShowsAClientNothingOfTheOneBefore) {
  channel_.steps = {call()};
  serve();
  ScriptedChannel next;
  next.steps = {call()};
  next.steps[0].invocation.function = 1;
  WorkerLoop(next, state_).serve();
  ASSERT_EQ(next.ended.size(), 1u);
  EXPECT_EQ(next.ended[0].output, std::string(5, '\0'));  // what the reply's line would carry
}

TEST_F(WorkerLoopTest, SpinsForAsLongAsItMay) {
  channel_.steps = {call(5000), call(5000)};
  serve();
  EXPECT_EQ(channel_.ended.size(), 2u);
  // Unless this machine is busy; then it was right to sleep.
  if (channel_.sleeps == 0) {
    EXPECT_GT(counters_.hot_poll_ticks, 0u);
  }
}

TEST_F(WorkerLoopTest, SleepsAtOnceWhenItMayNotSpin) {
  state_.hot_ticks = 0;
  channel_.steps = {call(0, true), call(0, true)};
  serve();
  EXPECT_EQ(channel_.ended.size(), 2u);
  EXPECT_GE(channel_.sleeps, 2);
  EXPECT_EQ(counters_.hot_poll_ticks, 0u);
}

TEST_F(WorkerLoopTest, SleepsWhenItHasSpunForLongEnough) {
  state_.hot_ticks = state_.rate.from(std::chrono::microseconds(50));
  channel_.steps = {call(), call(0, true), call(0, true)};
  serve();
  EXPECT_EQ(channel_.ended.size(), 3u);
  EXPECT_GE(channel_.sleeps, 2);
  EXPECT_GE(counters_.hot_poll_ticks, 2 * state_.hot_ticks);
}

TEST_F(WorkerLoopTest, DoesNotSpinBeforeTheFirstCall) {
  channel_.steps = {call(0, true)};
  serve();
  EXPECT_EQ(channel_.ended.size(), 1u);
  EXPECT_EQ(channel_.sleeps, 1);
}

}  // namespace
}  // namespace sublet::executor
