#pragma once

// A load of calls over a channel with faults made to order: each call ends exactly once, with its
// own result or with the reason why there is none, and the executor serves the next client.

#include "faults.hpp"
#include "fixture.hpp"

#include <array>
#include <memory>
#include <vector>

namespace sublet::conformance {

template <class T>
class Faults : public Fixture<T> {
 protected:
  using typename Fixture<T>::Client;
  using Faulty = FaultyClient<Client>;
  static_assert(transport::ClientChannel<Faulty>);

  static constexpr std::uint32_t kCalls = 40;
  static constexpr std::uint32_t kWindow = 6;

  struct Outcome {
    std::uint32_t ok = 0;
    std::uint32_t lost = 0;    ///< kLost
    std::uint32_t closed = 0;  ///< kClosed, and calls that could not be submitted at all.
  };

  /// Keeps kWindow calls under way until kCalls have ended: echoes of a word, every fourth one of
  /// some KiB in the arena. Polls for one half of them and waits for the other.
  Outcome drive(Faulty& client) {
    struct Call {
      Ticket ticket;
      std::uint32_t number = 0;
      bool under_way = false;
    };
    constexpr std::size_t kLarge = 6000;
    std::vector<Call> window(kWindow);
    std::vector<std::uint64_t> in(kWindow);
    std::vector<std::uint64_t> out(kWindow);
    auto& memory = *this->arena();
    auto* const large = static_cast<char*>(memory.allocate(std::size_t{2} * kWindow * kLarge, 128));
    Outcome outcome;
    std::uint32_t begun = 0;
    std::uint32_t ended = 0;
    const auto deadline = this->patience();
    while (ended < kCalls && !deadline.passed()) {
      for (std::uint32_t i = 0; i < kWindow; ++i) {
        Call& call = window[i];
        char* const large_in = large + std::size_t{2} * i * kLarge;
        char* const large_out = large_in + kLarge;
        const bool is_large = call.number % 4 == 3;
        if (call.under_way) {
          ReplyView reply;
          const Status status = call.number % 2 == 0
                                    ? client.poll(call.ticket, reply)
                                    : client.wait(call.ticket, reply, this->patience());
          if (status == Status::kAgain) continue;
          EXPECT_EQ(status, Status::kOk) << to_string(status);
          call.under_way = false;
          ++ended;
          count(outcome, reply);
          if (reply.status != Status::kOk) continue;
          if (is_large) {
            EXPECT_EQ(reply.size, kLarge);
            EXPECT_EQ(std::memcmp(large_in, large_out, kLarge), 0) << call.number;
          } else {
            EXPECT_EQ(out[i], in[i]) << call.number;
          }
        } else if (begun < kCalls) {
          const std::uint32_t number = begun;
          Request request = this->request(Function::kEcho, &in[i], 8, &out[i], 8);
          in[i] = number * 0x9e37'79b9'7f4a'7c15u;
          if (number % 4 == 3) {
            fill(large_in, kLarge, number);
            request = this->request(Function::kEcho, large_in, kLarge, large_out, kLarge);
          }
          const Status status = client.submit(request, call.ticket);
          if (status == Status::kAgain) continue;
          ++begun;
          call.number = number;
          if (status == Status::kOk) {
            call.under_way = true;
          } else {
            EXPECT_EQ(status, Status::kClosed) << to_string(status);
            ++outcome.closed;
            ++ended;
          }
        }
      }
    }
    EXPECT_EQ(ended, kCalls);
    EXPECT_EQ(client.in_flight(), 0u);
    memory.deallocate(large, std::size_t{2} * kWindow * kLarge, 128);
    return outcome;
  }

  static void count(Outcome& outcome, const ReplyView& reply) {
    if (reply.status == Status::kOk) {
      ++outcome.ok;
    } else if (reply.status == Status::kLost) {
      ++outcome.lost;
    } else {
      EXPECT_EQ(reply.status, Status::kClosed) << to_string(reply.status) << ": " << reply.error;
      ++outcome.closed;
    }
  }
};

TYPED_TEST_SUITE_P(Faults);

TYPED_TEST_P(Faults, ARefusedSubmitCostsOnlyTime) {
  this->start();
  for (const std::uint32_t full_for : {1u, 3u, 17u}) {
    typename TestFixture::Faulty client(this->connect(), {.full_for = full_for});
    EXPECT_EQ(this->drive(client).ok, TestFixture::kCalls);
    client.close();
    ASSERT_TRUE(this->executor_->await_free(0));
  }
}

TYPED_TEST_P(Faults, ALateReplyIsTheRightOne) {
  this->start();
  for (const std::uint32_t late_for : {1u, 5u, 50u}) {
    typename TestFixture::Faulty client(this->connect(), {.full_for = 1, .late_for = late_for});
    EXPECT_EQ(this->drive(client).ok, TestFixture::kCalls);
    client.close();
    ASSERT_TRUE(this->executor_->await_free(0));
  }
}

TYPED_TEST_P(Faults, AConnectionClosedAtAnyOperationEndsEachCallOnce) {
  this->start();
  std::uint64_t dropped = 0;
  for (std::uint64_t drop_at = 1; drop_at <= 60; drop_at += drop_at < 20 ? 1 : 7) {
    SCOPED_TRACE(drop_at);
    typename TestFixture::Faulty client(this->connect(), {.drop_at = drop_at});
    const auto outcome = this->drive(client);
    EXPECT_EQ(outcome.lost, 0u);
    EXPECT_GT(outcome.closed, 0u);
    EXPECT_FALSE(client.is_open());
    // A worker is free, too, that has not been handed its channel yet.
    ++dropped;
    ASSERT_TRUE(await([&] { return this->executor_->clients_ended() == dropped; }));
    ASSERT_TRUE(this->executor_->await_free(0));
  }
  auto next = this->connect();
  this->expect_working(next);
}

TYPED_TEST_P(Faults, AnExecutorKilledAtAnyOperationEndsEachCallOnce) {
  constexpr std::array<std::uint64_t, 6> kDropAt{1, 2, 5, 8, 13, 30};
  // All children first: a device that this process has opened would be of no use to one made later.
  std::vector<std::unique_ptr<ChildExecutor<TypeParam>>> executors;
  for (std::size_t i = 0; i < kDropAt.size(); ++i) {
    executors.push_back(
        std::make_unique<ChildExecutor<TypeParam>>(ExecutorOptions{}, this->control_));
  }
  for (std::size_t i = 0; i < kDropAt.size(); ++i) {
    SCOPED_TRACE(kDropAt[i]);
    FaultPlan plan;
    plan.drop_at = kDropAt[i];
    plan.drop = [&] { executors[i]->process().kill(); };
    typename TestFixture::Faulty client(
        TypeParam::connect(executors[i]->address(), {}, this->arena()).value_or_throw(), plan);
    const auto outcome = this->drive(client);
    EXPECT_GT(outcome.lost + outcome.closed, 0u);
    EXPECT_FALSE(client.check_peer());
  }
}

REGISTER_TYPED_TEST_SUITE_P(Faults, ARefusedSubmitCostsOnlyTime, ALateReplyIsTheRightOne,
                            AConnectionClosedAtAnyOperationEndsEachCallOnce,
                            AnExecutorKilledAtAnyOperationEndsEachCallOnce);

}  // namespace sublet::conformance
