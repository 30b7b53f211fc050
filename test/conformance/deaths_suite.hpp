#pragma once

// The other process is killed while this one spins, sleeps or idles. Each side must notice the
// death itself: a silent peer is given more time than these tests have (kSilenceAllowed). What it
// held must be of use to the next client.

#include "fixture.hpp"

#include <thread>

namespace sublet::conformance {

template <class T>
class Deaths : public Fixture<T> {
 protected:
  using typename Fixture<T>::Client;
  enum class State { kSpinning, kSleeping, kIdle };

  static transport::WaitPolicy policy_of(State state) {
    transport::WaitPolicy policy;
    policy.spin = state == State::kSleeping ? std::chrono::nanoseconds(0) : kPatience;
    return policy;
  }

  /// A client of worker 0 in a process of its own. It says "ready" in the state asked for, or just
  /// before it is.
  std::unique_ptr<Child> client_in_child(State state) {
    return std::make_unique<Child>([this, state](Child& self) {
      ClientOptions options;
      options.wait = policy_of(state);
      Client client =
          T::connect(this->control_.await_address(), options, this->arena()).value_or_throw();
      if (state == State::kIdle) {
        std::uint64_t value = 3;
        this->call(client, this->request(Function::kEcho, &value, 8, &value, 8));
        self.say("ready");
        for (;;) ::pause();
      }
      const Ticket ticket = this->submit(client, this->request(Function::kWait, nullptr, 0));
      self.say("ready");
      ReplyView reply;
      (void)client.wait(ticket, reply, this->patience());
    });
  }

  /// Kills a client in that state while the worker is idle (spinning or asleep) or runs its call.
  void expect_clients_death_noticed(State client_state, std::chrono::nanoseconds hot_timeout) {
    const auto client = client_in_child(client_state);
    ExecutorOptions options;
    options.hot_timeout = hot_timeout;
    options.sleep_limit = std::chrono::hours(1);  // its own looking around does not help it
    this->start(options);
    ASSERT_EQ(client->hear(), "ready");
    const bool running = client_state != State::kIdle;
    if (running) {
      ASSERT_TRUE(await([&] { return this->worker().entered == 1; }));
    } else if (hot_timeout.count() == 0) {
      ASSERT_TRUE(this->await_worker_asleep());
    }
    if (client_state == State::kSleeping) {
      ASSERT_TRUE(await([&] { return is_blocked(client->pid(), client->pid()); }));
    }
    client->kill();
    ASSERT_TRUE(await([&] { return this->executor_->clients_ended() == 1; }));
    if (running) this->control_.open_gate();  // its call ends, for nobody
    ASSERT_TRUE(this->executor_->await_free(0));
    auto next = this->connect();
    this->expect_working(next);
  }
};

TYPED_TEST_SUITE_P(Deaths);

TYPED_TEST_P(Deaths, OfAnIdleClientAreSeenByASpinningWorker) {
  this->expect_clients_death_noticed(TestFixture::State::kIdle, std::chrono::nanoseconds(-1));
}

TYPED_TEST_P(Deaths, OfAnIdleClientAreSeenByASleepingWorker) {
  this->expect_clients_death_noticed(TestFixture::State::kIdle, std::chrono::nanoseconds(0));
}

TYPED_TEST_P(Deaths, OfASpinningClientAreSeenWhileItsCallRuns) {
  this->expect_clients_death_noticed(TestFixture::State::kSpinning, std::chrono::nanoseconds(-1));
}

TYPED_TEST_P(Deaths, OfASleepingClientAreSeenWhileItsCallRuns) {
  this->expect_clients_death_noticed(TestFixture::State::kSleeping, std::chrono::nanoseconds(0));
}

TYPED_TEST_P(Deaths, OfTheExecutorAreSeenByASpinningClient) {
  ChildExecutor<TypeParam> executor({}, this->control_);
  ClientOptions options;
  options.wait = this->policy_of(TestFixture::State::kSpinning);
  auto client = TypeParam::connect(executor.address(), options, this->arena()).value_or_throw();
  const Ticket running = this->submit(client, this->request(Function::kWait, nullptr, 0));
  const Ticket behind = this->submit(client, this->request(Function::kEcho, nullptr, 0));
  std::thread killer([&] {
    EXPECT_TRUE(await([&] { return this->worker().entered == 1; }));
    executor.process().kill();
  });
  const auto reply = this->collect(client, running);
  killer.join();
  EXPECT_EQ(reply.status, Status::kLost);
  EXPECT_EQ(this->collect(client, behind).status, Status::kLost);
  EXPECT_FALSE(client.is_open());
  EXPECT_EQ(client.in_flight(), 0u);
  Ticket more;
  EXPECT_EQ(client.submit(this->request(Function::kEcho, nullptr, 0), more), Status::kClosed);
}

TYPED_TEST_P(Deaths, OfTheExecutorAreSeenByASleepingClient) {
  ChildExecutor<TypeParam> executor({}, this->control_);
  ClientOptions options;
  options.wait = this->policy_of(TestFixture::State::kSleeping);
  auto client = TypeParam::connect(executor.address(), options, this->arena()).value_or_throw();
  const Ticket running = this->submit(client, this->request(Function::kWait, nullptr, 0));
  const pid_t self = ::gettid();
  std::thread killer([&] {
    EXPECT_TRUE(await([&] { return this->worker().entered == 1; }));
    EXPECT_TRUE(await([&] { return is_blocked(::getpid(), self); }));
    executor.process().kill();
  });
  const auto reply = this->collect(client, running);
  killer.join();
  EXPECT_EQ(reply.status, Status::kLost);
}

TYPED_TEST_P(Deaths, OfTheExecutorAreSeenByAnIdleClientThatAsks) {
  ChildExecutor<TypeParam> executor({}, this->control_);
  auto client = TypeParam::connect(executor.address(), {}, this->arena()).value_or_throw();
  this->expect_working(client);
  EXPECT_TRUE(client.check_peer());
  executor.process().kill();
  EXPECT_TRUE(await([&] { return !client.check_peer(); }));
  EXPECT_FALSE(client.is_open());
  Ticket more;
  EXPECT_EQ(client.submit(this->request(Function::kEcho, nullptr, 0), more), Status::kClosed);
}

TYPED_TEST_P(Deaths, OfTheExecutorLoseNoReplyThatCameBefore) {
  ChildExecutor<TypeParam> executor({}, this->control_);
  auto client = TypeParam::connect(executor.address(), {}, this->arena()).value_or_throw();
  const std::uint64_t in = 17;
  std::uint64_t out = 0;
  const Ticket answered = this->submit(client, this->request(Function::kEcho, &in, 8, &out, 8));
  const Ticket running = this->submit(client, this->request(Function::kWait, nullptr, 0));
  ASSERT_TRUE(await([&] { return this->worker().entered == 1; }));  // the one before has ended
  executor.process().kill();
  ASSERT_TRUE(await([&] { return !client.check_peer(); }));
  EXPECT_EQ(this->collect(client, running).status, Status::kLost);
  EXPECT_EQ(this->collect(client, answered).status, Status::kOk);
  EXPECT_EQ(out, in);
}

TYPED_TEST_P(Deaths, OfTheExecutorEndAllCallsOfAFullWindow) {
  ChildExecutor<TypeParam> executor({}, this->control_);
  auto client = TypeParam::connect(executor.address(), {}, this->arena()).value_or_throw();
  std::vector<Ticket> tickets;
  for (std::uint32_t i = 0; i < client.slots(); ++i) {
    tickets.push_back(this->submit(client, this->request(Function::kWait, nullptr, 0)));
  }
  executor.process().kill();
  for (const Ticket ticket : tickets) {
    EXPECT_EQ(this->collect(client, ticket).status, Status::kLost);
  }
  EXPECT_EQ(client.in_flight(), 0u);
}

REGISTER_TYPED_TEST_SUITE_P(
    Deaths, OfAnIdleClientAreSeenByASpinningWorker, OfAnIdleClientAreSeenByASleepingWorker,
    OfASpinningClientAreSeenWhileItsCallRuns, OfASleepingClientAreSeenWhileItsCallRuns,
    OfTheExecutorAreSeenByASpinningClient, OfTheExecutorAreSeenByASleepingClient,
    OfTheExecutorAreSeenByAnIdleClientThatAsks, OfTheExecutorLoseNoReplyThatCameBefore,
    OfTheExecutorEndAllCallsOfAFullWindow);

}  // namespace sublet::conformance
