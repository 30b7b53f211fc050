// Calls through a real executor, over real shm channels.

#include "zygote_under_test.hpp"

#include <gtest/gtest.h>
#include <time.h>

#include <algorithm>
#include <array>
#include <chrono>
#include <cstdint>
#include <cstring>
#include <filesystem>
#include <fstream>
#include <numeric>
#include <string>
#include <thread>
#include <vector>

namespace sublet::executor {
namespace {

using transport::Arena;
using transport::shm::ClientChannel;

/// One executor with one worker, and a channel to it.
class CallTest : public testing::Test {
 protected:
  void start(const std::vector<std::string>& functions, const SpawnOptions& options = {}) {
    executor_ = zygote_.spawn(options);
    executor_.open_all(TEST_FUNCTIONS, functions);
    channel_.emplace(executor_.connect(0, arena_).value_or_throw());
  }

  std::byte* memory(std::size_t bytes) { return static_cast<std::byte*>(arena_->allocate(bytes)); }

  ZygoteUnderTest zygote_;
  ExecutorUnderTest executor_;
  std::shared_ptr<Arena> arena_ = Arena::create(64u << 20).value_or_throw();
  std::optional<ClientChannel> channel_;
};

TEST_F(CallTest, RunsTheRfaasForm) {
  start({"echo", "nothing"});
  const std::uint64_t in = 0x0123456789abcdef;
  std::uint64_t out = 0;
  const CallResult small = call(*channel_, 0, &in, sizeof(in), &out, sizeof(out));
  EXPECT_EQ(small.status, Status::kOk) << small.error;
  EXPECT_EQ(small.size, sizeof(in));
  EXPECT_EQ(out, in);

  constexpr std::size_t kLarge = 4u << 20;
  auto* large_in = reinterpret_cast<std::uint32_t*>(memory(kLarge));
  auto* large_out = reinterpret_cast<std::uint32_t*>(memory(kLarge));
  std::iota(large_in, large_in + kLarge / 4, 1u);
  const CallResult large = call(*channel_, 0, large_in, kLarge, large_out, kLarge);
  EXPECT_EQ(large.status, Status::kOk) << large.error;
  EXPECT_EQ(large.size, kLarge);
  EXPECT_TRUE(std::equal(large_in, large_in + kLarge / 4, large_out));
  EXPECT_GT(large.exec_ns, 0u);

  EXPECT_EQ(call(*channel_, 1, nullptr, 0).status, Status::kOk);
}

TEST_F(CallTest, RunsTheTypedForm) {
  start({"sum", "reverse"});
  const std::array<std::int64_t, 2> pair{40, 2};
  std::int64_t sum = 0;
  const CallResult added = call(*channel_, 0, pair.data(), sizeof(pair), &sum, sizeof(sum));
  EXPECT_EQ(added.status, Status::kOk) << added.error;
  EXPECT_EQ(added.size, sizeof(sum));
  EXPECT_EQ(sum, 42);

  std::string reversed(6, '?');
  EXPECT_EQ(call(*channel_, 1, "stressed", 6, reversed.data(), 6).status, Status::kOk);
  EXPECT_EQ(reversed, "sserts");
}

TEST_F(CallTest, ReportsWhatATypedFunctionReports) {
  start({"sum", "fail_with_text", "fail_silently", "fail_loudly"});
  const CallResult short_input = call(*channel_, 0, "abc", 3, nullptr, 0);
  EXPECT_EQ(short_input.status, Status::kFunctionError);
  EXPECT_EQ(short_input.error,
            "function 'sum' failed with code 1: expected an input of 16 bytes and got 3");
  const CallResult text = call(*channel_, 1, nullptr, 0);
  EXPECT_EQ(text.status, Status::kFunctionError);
  EXPECT_EQ(text.error, "function 'fail_with_text' failed with code 7: the matrix is singular");
  const CallResult silent = call(*channel_, 2, nullptr, 0);
  EXPECT_EQ(silent.status, Status::kFunctionError);
  EXPECT_EQ(silent.error, "function 'fail_silently' failed with code 42");
  const CallResult loud = call(*channel_, 3, nullptr, 0);
  EXPECT_EQ(loud.status, Status::kFunctionError);
  EXPECT_TRUE(loud.error.starts_with("function 'fail_loudly' failed with code -7: xxxx"));
}

TEST_F(CallTest, NamesWhatAFunctionThrew) {
  start({"throw_runtime_error", "throw_int", "throw_text", "nothing"});
  const CallResult runtime = call(*channel_, 0, nullptr, 0);
  EXPECT_EQ(runtime.status, Status::kException);
  EXPECT_EQ(runtime.error, "function 'throw_runtime_error' threw std::runtime_error: no luck");
  EXPECT_EQ(call(*channel_, 1, nullptr, 0).error, "function 'throw_int' threw int");
  EXPECT_EQ(call(*channel_, 2, nullptr, 0).error,
            "function 'throw_text' threw a text: only a text");
  EXPECT_EQ(call(*channel_, 3, nullptr, 0).status, Status::kOk);  // nothing is broken by it
}

TEST_F(CallTest, SurvivesTheExceptionOfAnotherLanguage) {
  start({"throw_foreign", "throw_int", "nothing"});
  for (int i = 0; i < 3; ++i) {
    const CallResult foreign = call(*channel_, 0, nullptr, 0);
    EXPECT_EQ(foreign.status, Status::kException);
    EXPECT_EQ(foreign.error, "function 'throw_foreign' threw an exception of another language");
    EXPECT_EQ(call(*channel_, 1, nullptr, 0).error, "function 'throw_int' threw int");
    EXPECT_EQ(call(*channel_, 2, nullptr, 0).status, Status::kOk);
  }
}

TEST_F(CallTest, ReportsAnOutputThatDoesNotFit) {
  start({"write_much", "sum", "claim_too_much", "reverse", "nothing"});
  // More than travels in a reply, but not more than the worker's scratch: nobody is hurt.
  const std::uint32_t much = 60'000;
  std::array<char, 8> out{};
  const CallResult blind = call(*channel_, 0, &much, sizeof(much), out.data(), out.size());
  EXPECT_EQ(blind.status, Status::kOutputTooLarge);
  EXPECT_EQ(blind.size, much);
  EXPECT_EQ(blind.error,
            "function 'write_much' produced 60000 bytes of output; the caller's buffer holds 8");

  const std::array<std::int64_t, 2> pair{1, 2};
  const CallResult typed = call(*channel_, 1, pair.data(), sizeof(pair), out.data(), 4);
  EXPECT_EQ(typed.status, Status::kOutputTooLarge);
  EXPECT_EQ(typed.size, 8u);
  EXPECT_EQ(typed.error, "function 'sum' produced 8 bytes of output; the caller's buffer holds 4");
  EXPECT_EQ(call(*channel_, 2, nullptr, 0, out.data(), 8).status, Status::kOutputTooLarge);
  EXPECT_EQ(call(*channel_, 3, "abcdef", 6, out.data(), 5).status, Status::kOutputTooLarge);
  EXPECT_EQ(call(*channel_, 4, nullptr, 0).status, Status::kOk);
  EXPECT_FALSE(ended_within(executor_.pidfd.get(), std::chrono::milliseconds(0)));
}

TEST_F(CallTest, StopsAnOverflowAtTheGuard) {
  start({"write_much"});
  const std::uint32_t too_much = 1u << 20;
  std::array<char, 8> out{};
  const CallResult result = call(*channel_, 0, &too_much, sizeof(too_much), out.data(), 8);
  EXPECT_EQ(result.status, Status::kCrashed);
  EXPECT_TRUE(result.error.starts_with(
      "function 'write_much' raised SIGSEGV (invalid memory reference) at address 0x"))
      << result.error;
}

TEST_F(CallTest, RefusesNumbersThatNameNoFunction) {
  start({"nothing"});
  for (const unsigned index : {1u, 7u, 1023u, 1024u, 65535u}) {
    const CallResult result = call(*channel_, static_cast<std::uint16_t>(index), nullptr, 0);
    EXPECT_EQ(result.status, Status::kUnknownFunction);
    EXPECT_EQ(result.error, "the executor has no function with number " + std::to_string(index));
  }
  EXPECT_EQ(call(*channel_, 0, nullptr, 0).status, Status::kOk);
}

TEST_F(CallTest, SaysThatTheMemoryLimitWasHit) {
  if (kSanitizer) GTEST_SKIP() << "the sanitizer ends a process that has no memory left";
  start({"allocate"}, {.memory_bytes = std::uint64_t{64} << 20});
  const std::uint32_t fits = 32;
  const std::uint32_t too_much = 80;
  EXPECT_EQ(call(*channel_, 0, &fits, sizeof(fits)).status, Status::kOk);
  const CallResult result = call(*channel_, 0, &too_much, sizeof(too_much));
  EXPECT_EQ(result.status, Status::kException);
  EXPECT_EQ(result.error,
            "function 'allocate' threw std::bad_alloc: std::bad_alloc (the lease's memory limit is "
            "64 MiB)");
  EXPECT_EQ(call(*channel_, 0, &fits, sizeof(fits)).status, Status::kOk);
}

TEST_F(CallTest, CountsWhatItDoes) {
  start({"echo", "throw_int"});
  std::uint64_t value = 1;
  for (int i = 0; i < 10; ++i) {
    ASSERT_EQ(call(*channel_, 0, &value, sizeof(value), &value, sizeof(value)).status, Status::kOk);
  }
  ASSERT_EQ(call(*channel_, 1, &value, sizeof(value), &value, sizeof(value)).status,
            Status::kException);
  // The counters are written after the reply, and idle spinning every few spins.
  const auto& counters = executor_.counters(0);
  const auto read = [](const std::uint64_t& c) {
    return std::atomic_ref<std::uint64_t>(const_cast<std::uint64_t&>(c)).load();
  };
  const auto deadline = base::Deadline::after(kPatience);
  while ((read(counters.invocations) < 11 || read(counters.hot_poll_ticks) == 0) &&
         !deadline.passed()) {
  }
  EXPECT_EQ(read(counters.invocations), 11u);
  EXPECT_EQ(read(counters.bytes_in), 88u);
  EXPECT_EQ(read(counters.bytes_out), 80u);
  EXPECT_GT(read(counters.compute_ticks), 0u);
  EXPECT_GT(read(counters.hot_poll_ticks), 0u);
}

TEST_F(CallTest, MeasuresHowLongTheFunctionRan) {
  start({"spin", "nothing"});
  const std::uint32_t ms = 20;
  const CallResult spun = call(*channel_, 0, &ms, sizeof(ms));
  EXPECT_GE(spun.exec_ns, 20'000'000u);
  // A call of nothing takes longer only when its worker loses the core meanwhile: not each time.
  const auto deadline = base::Deadline::after(kPatience);
  CallResult nothing;
  do {
    nothing = call(*channel_, 1, nullptr, 0);
    ASSERT_EQ(nothing.status, Status::kOk) << nothing.error;
  } while (nothing.exec_ns >= spun.exec_ns && !deadline.passed());
  EXPECT_LT(nothing.exec_ns, spun.exec_ns);
}

TEST_F(CallTest, FillsAWindowInOrder) {
  start({"echo"});
  std::array<std::uint64_t, 16> values{};
  std::array<std::uint64_t, 16> results{};
  std::array<transport::Ticket, 16> tickets{};
  for (int round = 0; round < 100; ++round) {
    for (std::size_t i = 0; i < 16; ++i) {
      values[i] = static_cast<std::uint64_t>(round) * 16 + i;
      ASSERT_EQ(channel_->submit({.in = &values[i],
                                  .in_size = 8,
                                  .out = &results[i],
                                  .out_capacity = 8,
                                  .function = 0},
                                 tickets[i]),
                Status::kOk);
    }
    for (std::size_t i = 16; i-- > 0;) {
      transport::ReplyView reply;
      ASSERT_EQ(channel_->wait(tickets[i], reply, base::Deadline::after(kPatience)), Status::kOk);
      ASSERT_EQ(reply.status, Status::kOk);
      ASSERT_EQ(results[i], values[i]);
    }
  }
}

/// True once no thread of the executor runs or wants to: its worker sleeps.
bool falls_asleep(const ExecutorUnderTest& executor) {
  const auto all_asleep = [&] {
    const std::string tasks = "/proc/" + std::to_string(executor.pid) + "/task";
    for (const auto& task : std::filesystem::directory_iterator(tasks)) {
      std::string line;
      std::getline(std::ifstream(task.path() / "stat"), line);
      // pid (name) state ...
      const std::size_t state = line.rfind(')') + 2;
      if (state >= line.size() || line[state] != 'S') return false;
    }
    return true;
  };
  const auto deadline = base::Deadline::after(kPatience);
  while (!deadline.passed()) {
    if (all_asleep()) return true;
  }
  return false;
}

TEST_F(CallTest, AnswersWarmWorkersAndThoseThatFallAsleep) {
  for (const std::int64_t hot_ms : {0, 1, 10}) {
    start({"echo"}, {.hot_timeout_ms = hot_ms});
    for (std::uint64_t i = 0; i < 200; ++i) {
      std::uint64_t out = 0;
      ASSERT_EQ(call(*channel_, 0, &i, 8, &out, 8).status, Status::kOk);
      ASSERT_EQ(out, i);
      if (i % 20 == 0) {
        ASSERT_TRUE(falls_asleep(executor_)) << "with a hot_timeout of " << hot_ms << " ms";
      }
    }
    const std::uint64_t spun = executor_.counters(0).hot_poll_ticks;
    EXPECT_EQ(spun == 0, hot_ms == 0);
  }
}

TEST_F(CallTest, ServesOneClientPerWorkerAtATime) {
  start({"nothing", "spin"});
  const auto second = executor_.connect(0, arena_);
  ASSERT_FALSE(second);
  EXPECT_EQ(second.error().kind(), ErrorKind::kDenied);

  // The client goes while its call runs; another comes and waits for the worker.
  const std::uint32_t ms = 50;
  transport::Ticket ticket;
  ASSERT_EQ(channel_->submit({.in = &ms, .in_size = sizeof(ms), .function = 1}, ticket),
            Status::kOk);
  channel_->close();
  Result<ClientChannel> next = fail(ErrorKind::kDenied, "not tried");
  const auto deadline = base::Deadline::after(kPatience);
  while (!next && !deadline.passed()) next = executor_.connect(0, arena_);
  ASSERT_TRUE(next) << next.error().what();
  EXPECT_EQ(call(*next, 0, nullptr, 0).status, Status::kOk);
}

TEST_F(CallTest, RefusesAWrongToken) {
  start({"nothing"});
  channel_->close();
  executor_.token[3] ^= 1;
  const auto refused = executor_.connect(0, arena_);
  ASSERT_FALSE(refused);
  EXPECT_EQ(refused.error().kind(), ErrorKind::kDenied);
}

std::chrono::nanoseconds read_clock(clockid_t clock) {
  timespec time{};
  EXPECT_EQ(::clock_gettime(clock, &time), 0);
  return std::chrono::seconds(time.tv_sec) + std::chrono::nanoseconds(time.tv_nsec);
}

/// Four workers and two clients: what `calls` calls of each client take of the processors, clients
/// and executor together. How long they take depends on who else is there.
std::chrono::nanoseconds processor_time_of(ZygoteUnderTest& zygote, std::int64_t hot_timeout_ms,
                                           std::uint64_t calls) {
  constexpr std::uint32_t kWorkers = 4;
  ExecutorUnderTest executor =
      zygote.spawn({.workers = kWorkers, .hot_timeout_ms = hot_timeout_ms});
  executor.open_all(TEST_FUNCTIONS, {"echo"});
  const auto arena = Arena::create(1u << 20).value_or_throw();
  std::vector<ClientChannel> channels;
  for (std::uint32_t i = 0; i < kWorkers; ++i) {
    channels.push_back(executor.connect(i, arena).value_or_throw());
  }
  clockid_t executor_clock{};
  EXPECT_EQ(::clock_getcpuclockid(executor.pid, &executor_clock), 0);
  const auto before = read_clock(executor_clock);
  std::array<std::uint64_t, 2> done{};
  std::array<std::chrono::nanoseconds, 2> taken{};
  const auto client = [&](std::size_t self) {
    for (std::uint64_t i = 0; i < calls; ++i) {
      std::uint64_t out = 0;
      auto& channel = channels[2 * self + i % 2];
      if (call(channel, 0, &i, 8, &out, 8).status != Status::kOk || out != i) return;
      ++done[self];
    }
    taken[self] = read_clock(CLOCK_THREAD_CPUTIME_ID);
  };
  std::thread first(client, 0);
  std::thread second(client, 1);
  first.join();
  second.join();
  EXPECT_EQ(done[0], calls);
  EXPECT_EQ(done[1], calls);
  return taken[0] + taken[1] + (read_clock(executor_clock) - before);
}

TEST(CallContention, MakesProgressWithMoreSpinnersThanCores) {
  // Workers that spin for ever, as far as cores last, beside workers that never spin: with fewer
  // cores than threads the first must not spin away a time slice per call, which is 200 times as
  // much.
  constexpr std::uint64_t kCalls = 1000;
  ZygoteUnderTest zygote;
  const auto asleep = processor_time_of(zygote, 0, kCalls);
  const auto spinning = processor_time_of(zygote, -1, kCalls);
  EXPECT_LT(spinning, 100 * asleep) << "ns: " << spinning.count() << " beside " << asleep.count();
}

}  // namespace
}  // namespace sublet::executor
