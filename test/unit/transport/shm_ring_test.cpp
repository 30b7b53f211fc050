#include "shm_pair.hpp"

#include <gtest/gtest.h>

#include <array>
#include <deque>
#include <random>
#include <string>
#include <thread>

namespace sublet::transport::shm {
namespace {

using namespace std::chrono_literals;

constexpr auto kPatience = 20s;
constexpr FenceMode kSymmetric = FenceMode::kSymmetric;

/// Echoes `calls` values through the pair with a window that keeps changing.
void echo_in_one_thread(ShmPair& pair, std::uint64_t calls) {
  struct Open {
    Ticket ticket;
    std::uint64_t in;
    std::uint64_t out = 0;
  };
  std::deque<Open> open;
  std::mt19937_64 random(11);
  std::uint64_t sent = 0;
  std::uint64_t received = 0;
  while (received < calls) {
    if (sent < calls && random() % 2 == 0) {
      Open& call = open.emplace_back();
      call.in = sent * 0x9e37'79b9'7f4a'7c15;
      Request request{&call.in, sizeof(call.in), &call.out, sizeof(call.out)};
      const Status status = pair.client.submit(request, call.ticket);
      if (open.size() > pair.client.slots()) {
        ASSERT_EQ(status, Status::kAgain);
        open.pop_back();
      } else {
        ASSERT_EQ(status, Status::kOk);
        ++sent;
      }
    }
    if (random() % 2 == 0) pair.serve();
    if (!open.empty()) {
      ReplyView reply;
      const Status status = pair.client.poll(open.front().ticket, reply);
      if (status == Status::kAgain) continue;
      ASSERT_EQ(status, Status::kOk);
      ASSERT_EQ(reply.status, Status::kOk);
      ASSERT_EQ(open.front().out, open.front().in);
      open.pop_front();
      ++received;
    }
  }
}

TEST(ShmRing, CarriesOnWhenTheSequenceNumbersWrap) {
  for (const std::uint32_t slots : {1u, 2u, 16u, 1024u}) {
    ShmPair pair({slots, kSymmetric, kRequestMark - 4 * slots});
    echo_in_one_thread(pair, std::uint64_t{16} * slots);
    if (HasFatalFailure()) FAIL() << "with " << slots << " slots";
  }
}

TEST(ShmRing, KnowsATicketOfBeforeTheWrapFromItsSuccessor) {
  ShmPair pair({2, kSymmetric, kRequestMark - 8});
  Ticket last_of_old;
  for (int i = 0; i < 8; ++i) {
    ASSERT_EQ(pair.client.submit({}, last_of_old), Status::kOk);
    ASSERT_TRUE(pair.serve());
    ReplyView reply;
    ASSERT_EQ(pair.client.poll(last_of_old, reply), Status::kOk);
  }
  ASSERT_EQ(last_of_old.sequence, ~kRequestMark);
  Ticket first;
  Ticket second;
  ASSERT_EQ(pair.client.submit({}, first), Status::kOk);
  ASSERT_EQ(first.sequence, 0u);
  ASSERT_EQ(pair.client.submit({}, second), Status::kOk);
  ReplyView reply;
  EXPECT_EQ(pair.client.poll(first, reply), Status::kAgain) << "an old reply was taken for new";
  EXPECT_EQ(pair.client.poll(last_of_old, reply), Status::kInvalid);
}

TEST(ShmRing, ReusesTheSlotOfTheCallBeforeWhenNoneIsUnderWay) {
  constexpr std::uint32_t kSlots = 4;
  ShmPair pair({kSlots, kSymmetric});
  const auto* ring = at<Slot>(pair.memory->data(), pair.layout.ring());
  const auto submit = [&](Ticket& ticket) {
    ASSERT_EQ(pair.client.submit({}, ticket), Status::kOk);
  };
  const auto end = [&](Ticket ticket) {
    ASSERT_TRUE(pair.serve());
    ReplyView reply;
    ASSERT_EQ(pair.client.poll(ticket, reply), Status::kOk);
  };
  Ticket ticket;
  for (int i = 0; i < 3; ++i) {
    submit(ticket);
    end(ticket);
  }
  EXPECT_EQ(ring[0].reply.sequence, 3u);
  EXPECT_EQ(ring[1].reply.sequence, 0u);

  Ticket beside;
  submit(ticket);
  submit(beside);
  EXPECT_EQ(ring[1].request.sequence, 5u | kRequestMark);
  end(ticket);
  end(beside);
  // What is refused leaves nothing behind: both sides still agree where the next one lies.
  Request bad;
  bad.in_size = 4096;
  ASSERT_EQ(pair.client.submit(bad, ticket), Status::kInvalid);
  ASSERT_EQ(pair.client.submit(bad, ticket), Status::kInvalid);
  submit(ticket);
  EXPECT_EQ(ring[1].request.sequence, 6u | kRequestMark);
  end(ticket);
}

/// A worker thread that spins a little and then sleeps, as the real one does.
void work(ServerChannel& server, std::chrono::nanoseconds sleep_limit) {
  Invocation invocation;
  for (std::uint32_t idle = 0; server.is_open() || idle == 0;) {
    if (server.poll(invocation)) {
      std::uint64_t value = 0;
      std::memcpy(&value, invocation.in, sizeof(value));
      ++value;
      std::memcpy(invocation.out, &value, sizeof(value));
      server.complete(invocation, {Status::kOk, sizeof(value), 1, 2, 3, {}});
      idle = 0;
    } else if (++idle > 64) {
      server.sleep(sleep_limit);
    }
  }
}

/// What the two threads share is seen by the thread sanitizer here, unlike between mappings.
TEST(ShmRing, IsFreeOfDataRacesWithBothSidesSleeping) {
  for (const auto fences : {FenceMode::kAsymmetric, FenceMode::kSymmetric}) {
    if (fences == FenceMode::kAsymmetric && !base::register_asymmetric_fence()) continue;
    WaitPolicy policy;
    policy.spin = 0ns;
    ShmPair pair({4, fences}, policy);
    std::thread worker([&] { work(pair.server, 1h); });
    auto* in_arena = static_cast<std::uint64_t*>(pair.arena->allocate(4096));
    for (std::uint64_t i = 0; i < 3'000; ++i) {
      in_arena[0] = i;
      std::uint64_t out = 0;
      Request request{in_arena, 64, &out, sizeof(out)};
      if (i % 2 == 0) request.in_size = 8;
      if (i % 3 == 0) {
        request.out = in_arena + 64;
        request.out_capacity = 64;
      }
      request.traced = i % 5 == 0;
      Ticket ticket;
      EXPECT_EQ(pair.client.submit(request, ticket), Status::kOk);
      ReplyView reply;
      EXPECT_EQ(pair.client.wait(ticket, reply, base::Deadline::after(kPatience)), Status::kOk);
      EXPECT_EQ(i % 3 == 0 ? in_arena[64] : out, i + 1);
      if (HasFailure()) break;
    }
    pair.server.interrupt();
    worker.join();
    pair.arena->deallocate(in_arena, 4096);
  }
}

TEST(ShmRing, TellsTheTimesOfATracedCallThatDies) {
  ShmPair pair({1, kSymmetric});
  Request traced;
  traced.traced = true;
  Ticket ticket;
  ReplyView reply;
  Invocation invocation;
  ASSERT_EQ(pair.client.submit(traced, ticket), Status::kOk);
  ASSERT_TRUE(pair.server.poll(invocation));
  pair.server.complete(invocation, {Status::kOk, 0, 5, 111, 222, {}});
  ASSERT_EQ(pair.client.poll(ticket, reply), Status::kOk);
  EXPECT_EQ(reply.started, 111u);
  EXPECT_EQ(reply.ended, 222u);
  ASSERT_EQ(pair.client.submit(traced, ticket), Status::kOk);
  ASSERT_TRUE(pair.server.poll(invocation));
  pair.server.complete_dying(invocation.sequence, Status::kCrashed, "signal 11");
  ASSERT_EQ(pair.client.poll(ticket, reply), Status::kOk);
  EXPECT_EQ(reply.status, Status::kCrashed);
  EXPECT_EQ(reply.error, "signal 11");
  EXPECT_EQ(reply.started, 0u) << "these are the times of the call before";
  EXPECT_EQ(reply.ended, 0u);
}

TEST(ShmRing, CutsAnErrorTextToItsPlace) {
  ShmPair pair({2, kSymmetric});
  const std::string text = std::string(kErrorBytes + 6, 'a');
  for (int i = 0; i < 4; ++i) {
    Ticket ticket;
    ReplyView reply;
    Invocation invocation;
    ASSERT_EQ(pair.client.submit({}, ticket), Status::kOk);
    ASSERT_TRUE(pair.server.poll(invocation));
    pair.server.complete(invocation, {Status::kFunctionError, 77, 0, 0, 0, text});
    ASSERT_EQ(pair.client.poll(ticket, reply), Status::kOk);
    EXPECT_EQ(reply.error, text.substr(0, kErrorBytes));
    EXPECT_EQ(reply.size, 0u);
  }
}

TEST(ShmRing, KeepsAReplyThatCameBeforeThePeersDeath) {
  ShmPair pair({4, kSymmetric});
  Ticket answered;
  Ticket unanswered;
  ASSERT_EQ(pair.client.submit({}, answered), Status::kOk);
  ASSERT_EQ(pair.client.submit({}, unanswered), Status::kOk);
  ASSERT_TRUE(pair.serve());
  pair.worker_end.reset();
  EXPECT_FALSE(pair.client.check_peer());
  EXPECT_FALSE(pair.client.is_open());
  ReplyView reply;
  ASSERT_EQ(pair.client.poll(answered, reply), Status::kOk);
  EXPECT_EQ(reply.status, Status::kOk);
  ASSERT_EQ(pair.client.poll(unanswered, reply), Status::kOk);
  EXPECT_EQ(reply.status, Status::kLost);
  EXPECT_EQ(pair.client.in_flight(), 0u);
}

TEST(ShmRing, SurvivesBeingMovedWithCallsInFlight) {
  ShmPair pair({4, kSymmetric});
  std::uint64_t in = 5;
  std::uint64_t out = 0;
  Ticket ticket;
  ASSERT_EQ(pair.client.submit({&in, 8, &out, 8}, ticket), Status::kOk);
  ClientChannel moved(std::move(pair.client));
  ASSERT_TRUE(pair.serve());
  ReplyView reply;
  ASSERT_EQ(moved.poll(ticket, reply), Status::kOk);
  EXPECT_EQ(out, 5u);
  EXPECT_TRUE(moved.check_peer());
}

}  // namespace
}  // namespace sublet::transport::shm
