#pragma once

// Order, back-pressure, slots, tickets, errors, deadlines.

#include "fixture.hpp"

#include <algorithm>
#include <array>
#include <deque>
#include <random>
#include <vector>

namespace sublet::conformance {

template <class T>
class Calls : public Fixture<T> {
 protected:
  using typename Fixture<T>::Client;

  static ClientOptions with_slots(std::uint32_t slots) {
    ClientOptions options;
    options.slots = slots;
    return options;
  }

  /// Fills all slots, the first call waiting at the gate, and expects back-pressure exactly then.
  void expect_room_for(Client& client, std::uint32_t slots) {
    std::vector<std::uint64_t> in(slots);
    std::vector<std::uint64_t> out(slots);
    std::vector<Ticket> tickets;
    for (std::uint32_t i = 0; i < slots; ++i) {
      in[i] = std::uint64_t{i} * 3;
      const Function function = i == 0 ? Function::kWait : Function::kEcho;
      tickets.push_back(this->submit(client, this->request(function, &in[i], 8, &out[i], 8)));
      ASSERT_EQ(client.in_flight(), i + 1);
    }
    Ticket beyond;
    for (int again = 0; again < 3; ++again) {
      ASSERT_EQ(client.submit(this->request(Function::kEcho, nullptr, 0), beyond), Status::kAgain);
    }
    EXPECT_EQ(client.in_flight(), slots);
    this->control_.open_gate();
    for (std::uint32_t i = 0; i < slots; ++i) {
      ASSERT_EQ(this->collect(client, tickets[i]).status, Status::kOk);
      ASSERT_EQ(out[i], in[i]);
    }
    EXPECT_EQ(client.in_flight(), 0u);
  }
};

TYPED_TEST_SUITE_P(Calls);

TYPED_TEST_P(Calls, RunInTheOrderInWhichTheyWereSubmitted) {
  this->start();
  auto client = this->connect();
  constexpr std::uint64_t kCalls = 5'000;
  std::deque<std::pair<Ticket, std::uint64_t>> open;
  std::uint64_t submitted = 0;
  std::uint64_t collected = 0;
  while (collected < kCalls) {
    while (submitted < kCalls && open.size() < client.slots()) {
      auto& [ticket, order] = open.emplace_back();
      ticket = this->submit(client, this->request(Function::kOrder, nullptr, 0, &order, 8));
      ++submitted;
    }
    ASSERT_EQ(this->collect(client, open.front().first).status, Status::kOk);
    ASSERT_EQ(open.front().second, collected);
    open.pop_front();
    ++collected;
  }
}

TYPED_TEST_P(Calls, AreHeldBackExactlyWhenAllSlotsAreTaken) {
  this->start();
  for (const std::uint32_t slots : {1u, 2u, 16u, 1024u}) {
    ASSERT_TRUE(this->executor_->await_free(0));
    auto client = this->connect(this->with_slots(slots));
    ASSERT_EQ(client.slots(), slots);
    for (int round = 0; round < 3; ++round) {
      ASSERT_NO_FATAL_FAILURE(this->expect_room_for(client, slots)) << slots << " slots";
    }
  }
}

TYPED_TEST_P(Calls, FreeTheirSlotWhenTheirReplyIsCollected) {
  this->start();
  auto client = this->connect(this->with_slots(4));
  std::array<Ticket, 4> tickets;
  for (Ticket& ticket : tickets) {
    ticket = this->submit(client, this->request(Function::kEcho, nullptr, 0));
  }
  // The last one has ended, and so have all before it. Yet the next call's slot is the first one's.
  this->collect(client, tickets[3]);
  Ticket next;
  ASSERT_EQ(client.submit(this->request(Function::kEcho, nullptr, 0), next), Status::kAgain);
  this->collect(client, tickets[0]);
  ASSERT_EQ(client.submit(this->request(Function::kEcho, nullptr, 0), next), Status::kOk);
  Ticket after_next;
  ASSERT_EQ(client.submit(this->request(Function::kEcho, nullptr, 0), after_next), Status::kAgain);
  for (const Ticket ticket : {tickets[1], tickets[2], next}) this->collect(client, ticket);
  EXPECT_EQ(client.in_flight(), 0u);
}

TYPED_TEST_P(Calls, MayBeCollectedInAnyOrder) {
  this->start();
  for (const std::uint32_t slots : {2u, 16u}) {
    ASSERT_TRUE(this->executor_->await_free(0));
    auto client = this->connect(this->with_slots(slots));
    struct Open {
      Ticket ticket;
      std::uint64_t number;
      std::uint64_t in;
      std::uint64_t out;
    };
    std::vector<std::unique_ptr<Open>> open;  // at places that stay
    std::mt19937_64 random(17);
    std::uint64_t next = 0;
    for (int step = 0; step < 20'000; ++step) {
      if (random() % 2 == 0) {
        auto call = std::make_unique<Open>();
        call->number = next;
        call->in = random();
        const Status status = client.submit(
            this->request(Function::kEcho, &call->in, 8, &call->out, 8), call->ticket);
        // The model: call n needs the slot of call n - slots.
        bool taken = false;
        for (const auto& other : open) taken |= other->number + slots == next;
        ASSERT_EQ(status, taken ? Status::kAgain : Status::kOk);
        if (taken) continue;
        ++next;
        open.push_back(std::move(call));
      } else if (!open.empty()) {
        const auto victim = open.begin() + static_cast<std::ptrdiff_t>(random() % open.size());
        const auto reply = this->collect(client, (*victim)->ticket);
        ASSERT_EQ(reply.status, Status::kOk);
        ASSERT_EQ((*victim)->out, (*victim)->in);
        open.erase(victim);
      }
      ASSERT_EQ(client.in_flight(), open.size());
    }
    for (const auto& call : open) this->collect(client, call->ticket);
  }
}

TYPED_TEST_P(Calls, AreUnknownOnceTheirReplyIsCollected) {
  this->start();
  auto client = this->connect(this->with_slots(2));
  ReplyView reply;
  EXPECT_EQ(client.poll(Ticket{1}, reply), Status::kInvalid) << "nothing was submitted";
  const Ticket first = this->submit(client, this->request(Function::kEcho, nullptr, 0));
  this->collect(client, first);
  EXPECT_EQ(client.poll(first, reply), Status::kInvalid);
  EXPECT_EQ(client.wait(first, reply, this->patience()), Status::kInvalid);
  // Also when their slot is in use again.
  this->call(client, this->request(Function::kEcho, nullptr, 0));
  const Ticket third = this->submit(client, this->request(Function::kWait, nullptr, 0));
  EXPECT_EQ(client.poll(first, reply), Status::kInvalid);
  EXPECT_EQ(client.in_flight(), 1u);
  this->control_.open_gate();
  this->collect(client, third);
}

TYPED_TEST_P(Calls, EndAsClosedWhenTheClientCloses) {
  this->start();
  auto client = this->connect(this->with_slots(2));
  const Ticket waiting = this->submit(client, this->request(Function::kWait, nullptr, 0));
  const Ticket behind = this->submit(client, this->request(Function::kEcho, nullptr, 0));
  ASSERT_TRUE(await([&] { return this->worker().entered == 1; }));
  EXPECT_TRUE(client.is_open());
  client.close();
  client.close();
  EXPECT_FALSE(client.is_open());
  EXPECT_FALSE(client.check_peer());
  Ticket more;
  EXPECT_EQ(client.submit(this->request(Function::kEcho, nullptr, 0), more), Status::kClosed)
      << "all slots are taken, but none will ever be free";
  for (const Ticket ticket : {waiting, behind}) {
    ReplyView reply;
    EXPECT_EQ(client.wait(ticket, reply, this->patience()), Status::kOk);
    EXPECT_EQ(reply.status, Status::kClosed);
  }
  EXPECT_EQ(client.submit(this->request(Function::kEcho, nullptr, 0), more), Status::kClosed);
  EXPECT_EQ(client.in_flight(), 0u);
  this->control_.open_gate();
  EXPECT_TRUE(this->executor_->await_free(0)) << "the worker was not told";
}

TYPED_TEST_P(Calls, GoOnWhenTheirCallersDeadlinePasses) {
  this->start();
  auto client = this->connect();
  std::uint64_t in = 99;
  std::uint64_t out = 0;
  const Ticket ticket = this->submit(client, this->request(Function::kWait, &in, 8, &out, 8));
  ReplyView reply;
  using namespace std::chrono_literals;
  for (const auto limit : {std::chrono::nanoseconds(0), std::chrono::nanoseconds(5ms)}) {
    EXPECT_EQ(client.wait(ticket, reply, base::Deadline::after(limit)), Status::kDeadline);
  }
  EXPECT_EQ(client.in_flight(), 1u);
  this->control_.open_gate();
  EXPECT_EQ(this->collect(client, ticket).status, Status::kOk);
  EXPECT_EQ(out, 99u);
}

TYPED_TEST_P(Calls, SayWhyTheyFailed) {
  this->start();
  auto client = this->connect();
  auto arena = this->arena();
  const std::string why(200, 'w');
  auto* text = static_cast<char*>(arena->allocate(why.size()));
  std::copy(why.begin(), why.end(), text);
  std::uint64_t out = 7;
  auto reply = this->call(client, this->request(Function::kFail, text, why.size(), &out, 8));
  EXPECT_EQ(reply.status, Status::kFunctionError);
  EXPECT_EQ(reply.error, why);
  EXPECT_EQ(reply.size, 0u);
  reply = this->call(client, this->request(Function::kFail, "short", 5));
  EXPECT_EQ(reply.error, "short");
  reply = this->call(client, this->request(Function::kFail, nullptr, 0));
  EXPECT_EQ(reply.status, Status::kFunctionError);
  EXPECT_EQ(reply.error, "");
  EXPECT_EQ(out, 7u) << "a failed call has no output";
  arena->deallocate(text, why.size());
  this->expect_working(client);
}

TYPED_TEST_P(Calls, SayHowMuchRoomTheirOutputNeeds) {
  this->start();
  auto client = this->connect();
  std::uint64_t needed = std::uint64_t{1} << 40;
  auto reply = this->call(client, this->request(Function::kTooLarge, &needed, 8));
  EXPECT_EQ(reply.status, Status::kOutputTooLarge);
  EXPECT_EQ(reply.size, needed);
  std::array<std::byte, 16> in{};
  std::array<std::byte, 16> out;
  out.fill(std::byte{3});
  reply = this->call(client, this->request(Function::kEcho, in.data(), 16, out.data(), 8));
  EXPECT_EQ(reply.status, Status::kOutputTooLarge);
  EXPECT_EQ(reply.size, 16u);
  EXPECT_EQ(out[8], std::byte{3}) << "written beyond the capacity";
}

TYPED_TEST_P(Calls, CarryTheNumberOfTheirFunction) {
  this->start();
  auto client = this->connect();
  for (const auto number : {static_cast<std::uint16_t>(Function::kCount), std::uint16_t{0x7fff},
                            std::uint16_t{0xffff}}) {
    const auto reply = this->call(client, this->request(Function{number}, nullptr, 0));
    EXPECT_EQ(reply.status, Status::kUnknownFunction);
    EXPECT_EQ(reply.error, "the executor has no function with number " + std::to_string(number));
  }
  this->expect_working(client);
}

TYPED_TEST_P(Calls, TellTheirTimes) {
  this->start();
  auto client = this->connect();
  std::uint64_t dawdle = base::TickRate::get().from(std::chrono::microseconds(200));
  std::uint64_t out = 0;
  auto traced = this->request(Function::kDawdle, &dawdle, 8, &out, 8);
  traced.traced = true;
  const base::Ticks before = base::ticks();
  const auto reply = this->call(client, traced);
  const base::Ticks after = base::ticks();
  EXPECT_EQ(reply.status, Status::kOk);
  EXPECT_GE(reply.exec_ns, 190'000u);
  if (reply.started != 0) {  // comparable with this clock
    EXPECT_LE(before, reply.started);
    EXPECT_LE(reply.started, reply.ended);
    EXPECT_LE(reply.ended, after);
  }
}

TYPED_TEST_P(Calls, CanBeEndedByASignalHandler) {
  using namespace std::chrono_literals;
  this->start();
  for (const auto spin : {std::chrono::nanoseconds(0), std::chrono::nanoseconds(1h)}) {
    ASSERT_TRUE(this->executor_->await_free(0));
    ClientOptions options;
    options.wait.spin = spin;
    auto client = this->connect(options);
    for (int i = 0; i < 100; ++i) {
      const auto reply = this->call(client, this->request(Function::kDie, "signal 11", 9));
      ASSERT_EQ(reply.status, Status::kCrashed);
      ASSERT_EQ(reply.error, "signal 11");
      ASSERT_EQ(reply.size, 0u);
    }
    this->expect_working(client);
  }
}

REGISTER_TYPED_TEST_SUITE_P(Calls, RunInTheOrderInWhichTheyWereSubmitted,
                            AreHeldBackExactlyWhenAllSlotsAreTaken,
                            FreeTheirSlotWhenTheirReplyIsCollected, MayBeCollectedInAnyOrder,
                            AreUnknownOnceTheirReplyIsCollected, EndAsClosedWhenTheClientCloses,
                            GoOnWhenTheirCallersDeadlinePasses, SayWhyTheyFailed,
                            SayHowMuchRoomTheirOutputNeeds, CarryTheNumberOfTheirFunction,
                            TellTheirTimes, CanBeEndedByASignalHandler);

}  // namespace sublet::conformance
