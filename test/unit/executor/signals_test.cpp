// Signals that end a process without being a fault: the call that they end has crashed, and says
// so.

#include "zygote_under_test.hpp"

#include <gtest/gtest.h>
#include <sys/wait.h>

#include <csignal>
#include <string>
#include <vector>

namespace sublet::executor {
namespace {

using transport::Arena;

class Signals : public testing::Test {
 protected:
  void start(std::uint32_t workers) {
    executor_ = zygote_.spawn({.workers = workers});
    executor_.open_all(TEST_FUNCTIONS, {"raise_signal", "signal_process", "set_alarm",
                                        "write_beyond_limit", "sleep_long"});
    arena_ = Arena::create(1u << 20).value_or_throw();
  }
  transport::shm::ClientChannel connect(std::uint32_t worker) {
    return executor_.connect(worker, arena_).value_or_throw();
  }
  void expect_end_by(int number) {
    const int status = zygote_.exit_of(executor_.pid);
    EXPECT_TRUE(WIFEXITED(status));
    EXPECT_EQ(WEXITSTATUS(status), 128 + number);
  }

  ZygoteUnderTest zygote_;
  ExecutorUnderTest executor_;
  std::shared_ptr<Arena> arena_;
};

TEST_F(Signals, OfAFunctionMakeItsCallCrash) {
  for (const int number : {SIGUSR1, SIGPIPE, SIGXCPU, SIGALRM, SIGRTMIN + 3}) {
    start(1);
    auto channel = connect(0);
    const CallResult result = call(channel, 0, &number, sizeof(number));
    EXPECT_EQ(result.status, Status::kCrashed) << number;
    EXPECT_TRUE(result.error.starts_with("function 'raise_signal' raised ")) << result.error;
    EXPECT_EQ(wire::text_of(executor_.dying().text), result.error);
    expect_end_by(number);
  }
}

TEST_F(Signals, ToTheProcessAreThoseOfTheOneFunctionThatRuns) {
  start(3);
  auto channel = connect(2);
  const int number = SIGUSR2;
  const CallResult result = call(channel, 1, &number, sizeof(number));
  EXPECT_EQ(result.status, Status::kCrashed);
  EXPECT_EQ(result.error, "function 'signal_process' raised SIGUSR2 (user's signal)");
  expect_end_by(number);
}

TEST_F(Signals, OfATimerAreThoseOfTheOneFunctionThatRuns) {
  start(2);
  auto channel = connect(1);
  const CallResult result = call(channel, 2, nullptr, 0);
  EXPECT_EQ(result.status, Status::kCrashed);
  EXPECT_EQ(result.error, "function 'set_alarm' raised SIGALRM (alarm clock)");
  expect_end_by(SIGALRM);
}

TEST_F(Signals, FromOutsideLoseTheCallAndBlameTheirSender) {
  start(1);
  auto channel = connect(0);
  transport::Ticket ticket;
  ASSERT_EQ(channel.submit({.function = 4}, ticket), Status::kOk);
  ASSERT_EQ(::kill(executor_.pid, SIGUSR1), 0);
  transport::ReplyView reply;
  ASSERT_EQ(channel.wait(ticket, reply, base::Deadline::after(kPatience)), Status::kOk);
  EXPECT_EQ(reply.status, Status::kLost);
  const wire::Dying dying = executor_.dying();
  EXPECT_EQ(wire::text_of(dying.text),
            "SIGUSR1 (user's signal) was sent by process " + std::to_string(::getpid()));
  expect_end_by(SIGUSR1);
}

TEST_F(Signals, NameTheLimitThatAFunctionHasMet) {
  start(1);
  auto channel = connect(0);
  const CallResult result = call(channel, 3, nullptr, 0);
  EXPECT_EQ(result.status, Status::kCrashed);
  EXPECT_EQ(result.error,
            "function 'write_beyond_limit' raised SIGXFSZ (the file size limit, ulimit -f)");
  expect_end_by(SIGXFSZ);
}

TEST_F(Signals, ToTheProcessBlameNobodyWhereSeveralFunctionsRun) {
  start(2);
  auto bystander = connect(1);
  transport::Ticket ticket;
  ASSERT_EQ(bystander.submit({.function = 4}, ticket), Status::kOk);
  auto channel = connect(0);
  const int number = SIGUSR1;
  const CallResult result = call(channel, 1, &number, sizeof(number));
  const std::string told(wire::text_of(executor_.dying().text));
  if (result.status == Status::kCrashed) {
    GTEST_SKIP() << "the other function did not run yet";
  }
  EXPECT_EQ(result.status, Status::kLost);
  EXPECT_EQ(told, "SIGUSR1 (user's signal) came while several functions ran");
  expect_end_by(number);
}

}  // namespace
}  // namespace sublet::executor
