// Functions that take their executor with them: the client is told which and why, the manager too.

#include "zygote_under_test.hpp"

#include <gtest/gtest.h>
#include <sys/wait.h>

#include <array>
#include <csignal>
#include <functional>
#include <string>
#include <vector>

namespace sublet::executor {
namespace {

using namespace std::chrono_literals;
using transport::Arena;

struct Fatal {
  const char* function;
  std::uint32_t argument;
  Status status;
  const char* text;  ///< Begins so.
  int exit_code;
};

void PrintTo(const Fatal& fatal, std::ostream* out) {
  *out << fatal.function;
}

class FatalTest : public testing::TestWithParam<Fatal> {};

TEST_P(FatalTest, TellsClientAndManager) {
  const Fatal& fatal = GetParam();
  if (kSanitizer && fatal.function == std::string("call_pthread_exit")) {
    GTEST_SKIP() << "the sanitizer takes a forced unwind for an error";
  }
  ZygoteUnderTest zygote;
  ExecutorUnderTest executor = zygote.spawn({.workers = 2});
  executor.open_all(TEST_FUNCTIONS, {fatal.function, "sleep_long"});
  const auto arena = Arena::create(1u << 20).value_or_throw();
  auto channel = executor.connect(0, arena).value_or_throw();
  auto bystander = executor.connect(1, arena).value_or_throw();
  transport::Ticket ticket;
  ASSERT_EQ(bystander.submit({.function = 1}, ticket), Status::kOk);

  const CallResult result = call(channel, 0, &fatal.argument, sizeof(fatal.argument));
  EXPECT_EQ(result.status, fatal.status);
  EXPECT_TRUE(result.error.starts_with(fatal.text)) << result.error;
  const wire::Dying dying = executor.dying();
  EXPECT_EQ(static_cast<Status>(dying.status), fatal.status);
  EXPECT_EQ(wire::text_of(dying.text), result.error);
  const int status = zygote.exit_of(executor.pid);
  EXPECT_TRUE(WIFEXITED(status));
  EXPECT_EQ(WEXITSTATUS(status), fatal.exit_code);

  // What ran beside it is lost, not hanging.
  transport::ReplyView reply;
  ASSERT_EQ(bystander.wait(ticket, reply, base::Deadline::after(kPatience)), Status::kOk);
  EXPECT_EQ(reply.status, Status::kLost);
}

std::vector<Fatal> fatal_functions() {
  return {
    {"crash_segv", 0, Status::kCrashed,
     "function 'crash_segv' raised SIGSEGV (invalid memory reference) at address 0x1234",
     128 + SIGSEGV},
#if defined(__x86_64__)  // elsewhere a division by zero is no fault
        {"crash_fpe", 0, Status::kCrashed,
         "function 'crash_fpe' raised SIGFPE (arithmetic error): integer division by zero at "
         "instruction 0x",
         128 + SIGFPE},
#endif
        {"crash_abort", 0, Status::kCrashed, "function 'crash_abort' raised SIGABRT (abort)",
         128 + SIGABRT},
        {"crash_terminate", 0, Status::kCrashed,
         "function 'crash_terminate' raised SIGABRT (abort)", 128 + SIGABRT},
        {"crash_stack", 0, Status::kCrashed,
         "function 'crash_stack' raised SIGSEGV (invalid memory reference) at address 0x",
         128 + SIGSEGV},
        {"call_exit", 3, Status::kExited, "function 'call_exit' called exit(3)", 3},
        {"call_exit", 0, Status::kExited, "function 'call_exit' called exit(0)", 0},
        {"call_quick_exit", 0, Status::kExited, "function 'call_quick_exit' called quick_exit", 1},
        {"call_pthread_exit", 0, Status::kExited, "function 'call_pthread_exit' ended its thread",
         1},
  };
}

INSTANTIATE_TEST_SUITE_P(Functions, FatalTest, testing::ValuesIn(fatal_functions()),
                         [](const auto& test) {
                           return std::string(test.param.function) + "_" +
                                  std::to_string(test.param.argument);
                         });

/// One worker and a channel, for the cases that are not like the others.
class FatalCall : public testing::Test {
 protected:
  transport::shm::ClientChannel start(const std::vector<std::string>& functions) {
    executor_ = zygote_.spawn();
    executor_.open_all(TEST_FUNCTIONS, functions);
    return executor_.connect(0, Arena::create(1u << 20).value_or_throw()).value_or_throw();
  }
  ZygoteUnderTest zygote_;
  ExecutorUnderTest executor_;
};

TEST_F(FatalCall, SaysThatTheStackIsFull) {
  auto channel = start({"crash_stack"});
  const CallResult result = call(channel, 0, nullptr, 0);
  EXPECT_NE(result.error.find(": its stack is full"), std::string::npos) << result.error;
}

TEST_F(FatalCall, BlamesAThreadThatAFunctionStarted) {
  auto channel = start({"crash_in_thread"});
  EXPECT_EQ(call(channel, 0, nullptr, 0).status, Status::kLost);
  const wire::Dying dying = executor_.dying();
  EXPECT_TRUE(wire::text_of(dying.text)
                  .starts_with("a thread that a function started raised SIGSEGV (invalid memory "
                               "reference) at address 0x5678, in libtest.so+0x"))
      << dying.text.data();
  EXPECT_EQ(WEXITSTATUS(zygote_.exit_of(executor_.pid)), 128 + SIGSEGV);
}

TEST_F(FatalCall, ReportsAnExitBeforeTheLibrarysExitHandlers) {
  executor_ = zygote_.spawn();
  executor_.open_all(ATEXIT_ON_LOAD_LIBRARY, {"leave"});
  auto channel = executor_.connect(0, Arena::create(1u << 20).value_or_throw()).value_or_throw();
  const CallResult result = call(channel, 0, nullptr, 0);
  EXPECT_EQ(result.status, Status::kExited);
  EXPECT_EQ(result.error, "function 'leave' called exit(6)");
}

TEST_F(FatalCall, ReportsTheCrashOfAnExitHandlerThatAFunctionRegistered) {
  auto channel = start({"exit_with_bad_handler", "call_exit"});
  ASSERT_EQ(call(channel, 0, nullptr, 0).status, Status::kOk);
  const std::uint32_t code = 5;
  const CallResult result = call(channel, 1, &code, sizeof(code));
  // It is newer than ours and runs first, so its crash is what ends the process.
  EXPECT_EQ(result.status, Status::kCrashed);
  EXPECT_TRUE(result.error.starts_with("function 'call_exit' raised SIGSEGV")) << result.error;
}

TEST_F(FatalCall, EndsAnOverrunWhileALibraryIsBeingLoaded) {
  executor_ = zygote_.spawn();
  ASSERT_EQ(executor_.open(0, TEST_FUNCTIONS, "sleep_long", 40ms).ok, 1);
  auto channel = executor_.connect(0, Arena::create(1u << 20).value_or_throw()).value_or_throw();
  executor_.order_open(1, library_memory(HANG_ON_LOAD_LIBRARY), 99, "unused");
  const CallResult result = call(channel, 0, nullptr, 0);
  EXPECT_EQ(result.status, Status::kTimedOut);
  EXPECT_EQ(result.error, "function 'sleep_long' ran longer than its timeout of 40 ms");
  EXPECT_EQ(static_cast<Status>(executor_.dying().status), Status::kTimedOut);
}

TEST_F(FatalCall, EndsAnOverrun) {
  executor_ = zygote_.spawn();
  ASSERT_EQ(executor_.open(0, TEST_FUNCTIONS, "sleep_long", 40ms).ok, 1);
  ASSERT_EQ(executor_.open(1, TEST_FUNCTIONS, "spin", 60s).ok, 1);
  auto channel = executor_.connect(0, Arena::create(1u << 20).value_or_throw()).value_or_throw();
  const std::uint32_t ms = 60;  // longer than the other function may take
  EXPECT_EQ(call(channel, 1, &ms, sizeof(ms)).status, Status::kOk);
  const auto begin = std::chrono::steady_clock::now();
  const CallResult result = call(channel, 0, nullptr, 0);
  EXPECT_EQ(result.status, Status::kTimedOut);
  EXPECT_EQ(result.error, "function 'sleep_long' ran longer than its timeout of 40 ms");
  EXPECT_GE(std::chrono::steady_clock::now() - begin, 40ms);
  EXPECT_EQ(static_cast<Status>(executor_.dying().status), Status::kTimedOut);
  EXPECT_TRUE(WIFEXITED(zygote_.exit_of(executor_.pid)));
}

TEST_F(FatalCall, EndsEachCallOnceWhenItEndsNearItsTimeout) {
  // The function takes as long as it may, so the watchdog and its return race. Whoever wins, the
  // client gets one answer, and the executor lives on exactly when that answer is kOk.
  int completed = 0;
  int overrun = 0;
  for (int round = 0; round < 20; ++round) {
    executor_ = zygote_.spawn();
    ASSERT_EQ(executor_.open(0, TEST_FUNCTIONS, "spin", 4ms).ok, 1);
    auto channel = executor_.connect(0, Arena::create(1u << 20).value_or_throw()).value_or_throw();
    const std::uint32_t ms = 4;
    for (int i = 0; i < 10; ++i) {
      const CallResult result = call(channel, 0, &ms, sizeof(ms));
      if (result.status == Status::kOk) {
        ++completed;
        continue;
      }
      ASSERT_EQ(result.status, Status::kTimedOut) << result.error;
      ++overrun;
      EXPECT_TRUE(WIFEXITED(zygote_.exit_of(executor_.pid)));
      break;
    }
  }
  EXPECT_GT(completed + overrun, 0);
}

TEST_F(FatalCall, SurvivesManyWatchedCalls) {
  executor_ = zygote_.spawn();
  ASSERT_EQ(executor_.open(0, TEST_FUNCTIONS, "nothing", 60s).ok, 1);
  ASSERT_EQ(executor_.open(1, TEST_FUNCTIONS, "throw_int", 60s).ok, 1);
  auto channel = executor_.connect(0, Arena::create(1u << 20).value_or_throw()).value_or_throw();
  for (int i = 0; i < 20'000; ++i) ASSERT_EQ(call(channel, 0, nullptr, 0).status, Status::kOk);
  EXPECT_EQ(call(channel, 1, nullptr, 0).status, Status::kException);
  EXPECT_EQ(call(channel, 0, nullptr, 0).status, Status::kOk);
}

}  // namespace
}  // namespace sublet::executor
