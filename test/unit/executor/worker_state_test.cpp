#include <executor/function_table.hpp>
#include <executor/signal_safe_text.hpp>
#include <executor/watchdog.hpp>
#include <executor/worker_state.hpp>

#include <gtest/gtest.h>

#include <atomic>
#include <chrono>
#include <limits>
#include <string>
#include <thread>

namespace sublet::executor {
namespace {

using namespace std::chrono_literals;

TEST(WorkerState, GivesEachCallToTheWorkerOrToTheWatchdog) {
  FunctionEntry function;
  function.timeout = 1;
  WorkerState state;
  constexpr std::uint64_t kEnough = 1000;
  std::atomic<bool> done{false};
  std::atomic<std::uint64_t> taken{0};
  std::atomic<std::uint64_t> wrong{0};
  // As Watchdog::look does, but the process lives on to count.
  std::thread watchdog([&] {
    while (!done.load()) {
      std::uint64_t call = state.watch.load(std::memory_order_acquire);
      if (call < WorkerState::kFirstCall) continue;
      const std::uint32_t sequence = state.sequence.load(std::memory_order_acquire);
      if (!state.watch.compare_exchange_strong(call, WorkerState::kTakenByWatchdog)) continue;
      // What was read belongs to the call that was taken: the worker's numbers begin together.
      if (sequence + WorkerState::kFirstCall != call) wrong.fetch_add(1);
      taken.fetch_add(1);
    }
  });
  std::uint64_t lost = 0;
  std::uint32_t calls = 0;
  const auto deadline = base::Deadline::after(20s);
  while ((taken.load() < kEnough || calls - lost < kEnough) && !deadline.passed()) {
    state.enter(function, ++calls, 1);
    for (std::uint32_t i = 0; i < calls % 64; ++i) base::cpu_pause();
    if (!state.leave(function)) ++lost;
  }
  done.store(true);
  watchdog.join();
  EXPECT_GE(taken.load(), kEnough) << "of " << calls << " calls";
  EXPECT_EQ(lost, taken.load());
  EXPECT_EQ(wrong.load(), 0u);
}

TEST(WorkerState, IsNotWatchedWithoutATimeout) {
  const FunctionEntry function;
  WorkerState state;
  state.enter(function, 7, 1);
  EXPECT_EQ(state.running.load(), &function);
  EXPECT_EQ(state.watch.load(), WorkerState::kUnwatched);
  Watchdog({&state, 1}).look(std::numeric_limits<base::Ticks>::max(), 1);  // ends nothing
  EXPECT_TRUE(state.leave(function));
  EXPECT_EQ(state.running.load(), nullptr);
}

TEST(Watchdog, LooksAsOftenAsTheShortestTimeoutNeeds) {
  EXPECT_EQ(watchdog_period(0ms), 0ms);
  EXPECT_EQ(watchdog_period(1ms), 1ms);
  EXPECT_EQ(watchdog_period(80ms), 10ms);
  EXPECT_EQ(watchdog_period(1h), 100ms);
}

TEST(Watchdog, SparesCallsThatHaveTime) {
  FunctionEntry function;
  function.timeout = 1000;
  WorkerState state;
  Watchdog watchdog({&state, 1});
  state.enter(function, 1, 5000);
  watchdog.look(5999, 100);
  watchdog.look(4000, 100);  // the stamp of another core, a little behind
  EXPECT_TRUE(state.leave(function));
}

TEST(Watchdog, DoesNotCountTheTimeInWhichTheProcessWasStopped) {
  const base::TickRate& rate = base::TickRate::get();
  const base::Ticks period = rate.from(10ms);
  FunctionEntry function;
  function.timeout = rate.from(90ms);
  WorkerState state;
  Watchdog watchdog({&state, 1});
  base::Ticks now = rate.from(1s);
  watchdog.look(now, period);
  state.enter(function, 1, now + 1);
  // Twice: each stop counts.
  for (int i = 0; i < 2; ++i) {
    for (int looks = 0; looks < 3; ++looks) watchdog.look(now += period, period);
    watchdog.look(now += rate.from(10s), period);
  }
  EXPECT_TRUE(state.leave(function));
  // A call that began after the stop has its own time alone.
  state.enter(function, 2, now);
  watchdog.look(now += period, period);
  EXPECT_TRUE(state.leave(function));
}

TEST(FunctionTable, FindsOnlyWhatIsThere) {
  FunctionTable table;
  int code = 0;
  EXPECT_EQ(table.find(0), nullptr);
  ASSERT_TRUE(table.add(3, "three", &code, FunctionForm::kTyped, 5ms));
  ASSERT_TRUE(table.add(4, "four", &code, FunctionForm::kRfaas, 0ms));
  ASSERT_NE(table.find(3), nullptr);
  EXPECT_STREQ(table.find(3)->name, "three");
  EXPECT_EQ(table.find(3)->timeout_ms, 5u);
  EXPECT_EQ(table.find(4)->timeout, 0u);
  EXPECT_EQ(table.shortest_timeout(), 5ms);
  EXPECT_EQ(table.find(65535), nullptr);
  EXPECT_FALSE(table.add(3, "other", &code, FunctionForm::kRfaas, 0ms));
  EXPECT_FALSE(table.add(65535, "high", &code, FunctionForm::kRfaas, 0ms));
}

TEST(SignalSafeText, WritesNumbersAndCutsWhatDoesNotFit) {
  SignalSafeText text;
  text.add("a ").add_number(std::int64_t{-42}).add(" ").add_number(std::uint64_t{0}).add(" ");
  text.add_address(0xdeadbeef).add(" ").add_number(std::numeric_limits<std::int64_t>::min());
  EXPECT_EQ(text.view(), "a -42 0 0xdeadbeef -9223372036854775808");
  EXPECT_EQ(SignalSafeText().add_number(std::numeric_limits<std::uint64_t>::max()).view(),
            "18446744073709551615");
  for (int i = 0; i < 100; ++i) text.add("0123456789");
  EXPECT_EQ(text.view().size(), 500u);
}

}  // namespace
}  // namespace sublet::executor
