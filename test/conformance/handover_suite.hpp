#pragma once

// The client's hand-over from an executor that dies to the next one, over a real transport: the
// executor is killed at every point of a call's way, and what the managers would say of it comes
// late, or never. See client/call_states.hpp for the table that this proves.

#include "fixture.hpp"
#include <client/control_thread.hpp>
#include <client/recovery.hpp>
#include <client/workers.hpp>
#include <transport/any/kind.hpp>
#include <wire/limits.hpp>

#include <chrono>
#include <cstring>
#include <vector>

namespace sublet::conformance {

template <class T>
class HandOver : public Fixture<T> {
 protected:
  static constexpr std::uint32_t kSlots = 8;
  static constexpr std::size_t kExecutors = 3;  ///< One after the other.

  /// What one call sends and wants back.
  struct Sent {
    std::vector<std::byte> in;
    std::vector<std::byte> out;
    client::PendingCall* call = nullptr;
  };

  /// Executors first: they are made by fork.
  void start_all(std::chrono::nanoseconds patience = std::chrono::seconds(20)) {
    for (std::size_t i = 0; i < kExecutors; ++i) {
      ExecutorOptions options;
      options.host.generation = static_cast<std::uint32_t>(i + 1);
      executors_.push_back(std::make_unique<ChildExecutor<T>>(options, this->control_));
    }
    for (std::uint16_t i = 0; i < static_cast<std::uint16_t>(Function::kCount); ++i) {
      client::OpenFunction function;
      function.request.index = i;
      function.request.name = "function-" + std::to_string(i);
      functions_.add(std::move(function));
    }
    Grant grant;
    grant.node_name = "node";
    grant.slots = kSlots;
    share_ = std::make_shared<const client::NodeShare>(
        client::NodeShare{grant, {{kind()}, "the test says so"}, {"0"}, state_});
    workers_ = std::make_unique<client::Workers>(
        events_, this->arena(), nullptr, functions_,
        client::Workers::Options{.replace = false, .patience = patience});
    recovery_ = std::make_unique<client::Recovery>(background_, events_, this->arena(), timeouts_);
    workers_->set_mend([this](base::Ticks now) { recovery_->step(*workers_, now); });
    workers_->add(workers_->make_link(share_, 0, 0));
    announce();
    EXPECT_TRUE(await([&] {
      workers_->attend();
      return link().up();
    }));
  }

  [[nodiscard]] static transport::Kind kind() { return *transport::kind_named(T::kName); }
  [[nodiscard]] const client::WorkerLink& link() const { return *workers_->links().front(); }

  /// As an executor manager would: the next executor takes connections.
  void announce() {
    transport::Endpoint endpoint;
    endpoint.generation = ++generation_;
    endpoint.addresses.push_back({kind(), executors_.at(generation_ - 1)->address()});
    endpoint.token = kToken;
    state_->executor_started(endpoint);
  }
  void kill_executor() { executors_.at(generation_ - 1)->process().kill(); }
  void tell_end(std::vector<std::uint32_t> last_started = {}) {
    state_->executor_ended(generation_, {"the test killed it", std::move(last_started)});
  }
  /// Killed, told of, and replaced.
  void replace_executor() {
    kill_executor();
    tell_end();
    announce();
  }

  /// Sizes that go inline, are staged, or need much staging.
  [[nodiscard]] static std::size_t size_of(std::size_t number) {
    constexpr std::size_t kSizes[] = {8, 100, 5000, 40, 20'000};
    return kSizes[number % std::size(kSizes)];
  }

  Sent& send(Function function, std::size_t size, bool idempotent = false) {
    Sent& sent = *sent_.emplace_back(std::make_unique<Sent>());
    sent.in.resize(size);
    fill(sent.in.data(), size, ++sent_count_);
    sent.out.assign(size, std::byte{0xEE});
    sent.call = workers_->async(static_cast<std::uint16_t>(function), idempotent, sent.in.data(),
                                size, sent.out.data(), size);
    return sent;
  }

  Status finish(Sent& sent) {
    EXPECT_TRUE(workers_->wait(*sent.call, this->patience())) << "a call has no end";
    const Reply reply = sent.call->reply;
    if (reply.ok()) {
      EXPECT_EQ(reply.size, sent.in.size());
      EXPECT_EQ(std::memcmp(sent.in.data(), sent.out.data(), sent.in.size()), 0);
    } else {
      EXPECT_TRUE(reply.status == Status::kLost || reply.status == Status::kClosed)
          << to_string(reply.status) << ": " << sent.call->error;
    }
    workers_->recycle(sent.call);
    return reply.status;
  }

  std::shared_ptr<client::LeaseEvents> events_ = std::make_shared<client::LeaseEvents>();
  std::shared_ptr<client::NodeState> state_ = std::make_shared<client::NodeState>(events_);
  std::shared_ptr<const client::NodeShare> share_;
  client::Timeouts timeouts_;
  client::Functions functions_;
  std::vector<std::unique_ptr<ChildExecutor<T>>> executors_;
  std::unique_ptr<client::Workers> workers_;
  client::Background background_;
  std::unique_ptr<client::Recovery> recovery_;
  std::vector<std::unique_ptr<Sent>> sent_;
  std::uint64_t sent_count_ = 0;
  std::uint32_t generation_ = 0;
};

TYPED_TEST_SUITE_P(HandOver);

// Three windows of calls are started; before the nth the executor is killed and replaced. Whatever
// was in a slot, in the queue or half staged then ends once, with its own data or as lost.
TYPED_TEST_P(HandOver, GivesEachCallItsEndWhereverTheExecutorDies) {
  this->start_all();
  constexpr std::size_t kCalls = 3 * TestFixture::kSlots;
  std::size_t lost = 0;
  for (std::size_t round = 0; round + 1 < TestFixture::kExecutors; ++round) {
    const std::size_t fatal = round == 0 ? kCalls / 6 : kCalls - 2;
    std::vector<typename TestFixture::Sent*> calls;
    for (std::size_t i = 0; i < kCalls; ++i) {
      if (i == fatal) this->replace_executor();
      calls.push_back(&this->send(Function::kEcho, this->size_of(i + round)));
    }
    for (auto* sent : calls) lost += this->finish(*sent) == Status::kLost ? 1 : 0;
  }
  // What waited in the queue was never given to the dead executor.
  EXPECT_LE(lost, 2 * std::size_t{TestFixture::kSlots});
}

TYPED_TEST_P(HandOver, RunsLostCallsOfIdempotentFunctionsAgain) {
  this->start_all();
  auto& running = this->send(Function::kWait, 100, true);
  auto& behind = this->send(Function::kEcho, 5000, true);
  ASSERT_TRUE(await([&] { return this->worker().entered == 1; }));
  this->replace_executor();
  this->control_.open_gate();
  EXPECT_EQ(this->finish(running), Status::kOk);
  EXPECT_EQ(this->finish(behind), Status::kOk);
}

// The killer's own reply says that those behind it have not been started: they are not lost.
TYPED_TEST_P(HandOver, KeepsCallsBehindTheOneThatKillsTheExecutor) {
  this->start_all();
  auto& before = this->send(Function::kEcho, 64);
  auto& killer = this->send(Function::kDie, 32);
  std::vector<typename TestFixture::Sent*> behind;
  for (std::size_t i = 0; i < 2 * TestFixture::kSlots; ++i) {
    behind.push_back(&this->send(Function::kEcho, 16));
  }
  EXPECT_EQ(this->finish(before), Status::kOk);
  ASSERT_TRUE(await([&] {
    (void)this->workers_->poll(*killer.call);
    return killer.call->state == client::CallState::kDying;
  }));
  // As long as the process lives it may write: nobody's call behind the killer ends, and neither
  // does the killer's.
  for (int i = 0; i < 100; ++i) {
    EXPECT_FALSE(this->workers_->poll(*killer.call));
    EXPECT_FALSE(this->workers_->poll(*behind.back()->call));
  }
  this->replace_executor();
  ASSERT_TRUE(this->workers_->wait(*killer.call, this->patience()));
  EXPECT_EQ(killer.call->reply.status, Status::kCrashed);
  this->workers_->recycle(killer.call);
  for (auto* sent : behind) EXPECT_EQ(this->finish(*sent), Status::kOk);
}

// An executor that drains has answered what it began, and says what that was: the rest is not lost.
TYPED_TEST_P(HandOver, KeepsCallsThatADrainedExecutorHasNotBegun) {
  this->start_all();
  auto& begun = this->send(Function::kWait, 100);
  ASSERT_TRUE(await([&] { return this->worker().entered == 1; }));
  std::vector<typename TestFixture::Sent*> behind;
  for (std::size_t i = 0; i < 2 * TestFixture::kSlots; ++i) {
    behind.push_back(&this->send(Function::kEcho, this->size_of(i)));
  }
  const std::uint32_t last_started = begun.call->ticket.sequence;
  this->kill_executor();
  this->tell_end({last_started});
  this->announce();
  EXPECT_EQ(this->finish(begun), Status::kLost);  // begun, and its reply never came
  for (auto* sent : behind) EXPECT_EQ(this->finish(*sent), Status::kOk);
}

// The next executor dies while it is being connected to.
TYPED_TEST_P(HandOver, GoesOnToTheExecutorAfterTheNext) {
  this->start_all();
  auto& lost = this->send(Function::kWait, 8);
  ASSERT_TRUE(await([&] { return this->worker().entered == 1; }));
  this->kill_executor();
  this->tell_end();
  this->executors_.at(1)->process().kill();  // before anyone hears of it
  this->announce();
  EXPECT_EQ(this->finish(lost), Status::kLost);
  auto& waiting = this->send(Function::kEcho, 5000);
  this->workers_->attend();
  EXPECT_FALSE(this->workers_->poll(*waiting.call));
  this->tell_end();
  this->announce();
  EXPECT_EQ(this->finish(waiting), Status::kOk);
}

// No manager says anything, ever: what was under way is lost, what waits is told so in the end, and
// asking never sleeps.
TYPED_TEST_P(HandOver, EndsCallsThoughNoManagerAnswers) {
  this->start_all(std::chrono::milliseconds(300));
  auto& lost = this->send(Function::kWait, 100);
  ASSERT_TRUE(await([&] { return this->worker().entered == 1; }));
  this->kill_executor();
  auto& queued = this->send(Function::kEcho, 100);
  const std::uint64_t slept = times_slept();
  for (int i = 0; i < 5000; ++i) {
    (void)this->workers_->poll(*lost.call);
    (void)this->workers_->poll(*queued.call);
    this->workers_->progress();
  }
  EXPECT_EQ(times_slept(), slept);
  EXPECT_EQ(this->finish(lost), Status::kLost);
  const Status end = this->finish(queued);
  EXPECT_TRUE(end == Status::kClosed || end == Status::kLost) << to_string(end);
  auto& late = this->send(Function::kEcho, 8);
  EXPECT_EQ(this->finish(late), Status::kClosed);
}

// Waits that are too short to look at the peer see its death all the same.
TYPED_TEST_P(HandOver, ShowsADeathToShortWaits) {
  this->start_all();
  auto& running = this->send(Function::kWait, 8);
  ASSERT_TRUE(await([&] { return this->worker().entered == 1; }));
  this->kill_executor();
  const auto end = this->patience();
  bool ended = false;
  while (!ended && !end.passed()) {
    ended =
        this->workers_->wait(*running.call, base::Deadline::after(std::chrono::microseconds(200)));
  }
  EXPECT_TRUE(ended);
  EXPECT_EQ(this->finish(running), Status::kLost);
}

// Released with calls under way: each ends once, and each continuation runs once.
TYPED_TEST_P(HandOver, ClosesWhatIsUnderWayWhenTheLeaseGoes) {
  this->start_all();
  auto& running = this->send(Function::kWait, 100);
  auto& handed_over = this->send(Function::kEcho, 5000);
  std::vector<Status> continued;
  this->workers_->hand_over(handed_over.call,
                            [&](const Reply& reply) { continued.push_back(reply.status); });
  ASSERT_TRUE(await([&] { return this->worker().entered == 1; }));
  this->workers_->stop("the test releases it");
  this->kill_executor();
  this->workers_->close();
  EXPECT_EQ(continued, std::vector<Status>{Status::kClosed});
  EXPECT_EQ(this->finish(running), Status::kClosed);
}

REGISTER_TYPED_TEST_SUITE_P(HandOver, GivesEachCallItsEndWhereverTheExecutorDies,
                            RunsLostCallsOfIdempotentFunctionsAgain,
                            KeepsCallsBehindTheOneThatKillsTheExecutor,
                            KeepsCallsThatADrainedExecutorHasNotBegun,
                            GoesOnToTheExecutorAfterTheNext, EndsCallsThoughNoManagerAnswers,
                            ShowsADeathToShortWaits, ClosesWhatIsUnderWayWhenTheLeaseGoes);

}  // namespace sublet::conformance
