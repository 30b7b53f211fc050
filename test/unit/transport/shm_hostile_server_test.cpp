// An executor that answers with nonsense. The client must never write beyond the output it gave,
// never read beyond the channel's memory, and always end the call.

#include "shm_pair.hpp"

#include <gtest/gtest.h>

#include <algorithm>
#include <array>
#include <atomic>
#include <cstring>
#include <random>
#include <thread>
#include <vector>

namespace sublet::transport::shm {
namespace {

constexpr std::uint32_t kSlots = 4;
constexpr auto kPatience = std::chrono::seconds(20);
constexpr std::byte kGuard{0xd5};

class HostileServer : public ::testing::Test {
 protected:
  HostileServer()
      : pair_({kSlots, FenceMode::kSymmetric}),
        mapping_(pair_.hostile_mapping()),
        rings_(at<Slot>(mapping_.data(), pair_.layout.ring())) {}

  /// Of every call here: none is submitted beside another.
  Slot& slot() { return rings_[0]; }

  static void expect_valid(const ReplyView& reply, std::uint64_t capacity) {
    ASSERT_LE(reply.status, Status::kDenied);
    ASSERT_NE(reply.status, Status::kAgain) << "a call that has ended is said to go on";
    ASSERT_NE(reply.status, Status::kDeadline) << "a call that has ended is said to go on";
    if (reply.status == Status::kOk) {
      ASSERT_LE(reply.size, capacity);
    }
    ASSERT_LE(reply.error.size(), kErrorBytes);
    const std::string text(reply.error);  // touches all of it
  }

  ShmPair pair_;
  base::SharedMemory mapping_;
  Slot* rings_;
};

TEST_F(HostileServer, NeverMakesTheClientWriteBeyondItsOutput) {
  std::mt19937_64 random(31);
  // On the heap and of the exact size, so that an address sanitizer watches its ends too.
  for (int i = 0; i < 200'000; ++i) {
    const std::size_t capacity = random() % (kInlineBytes + 1);
    std::vector<std::byte> guarded(capacity + 32, kGuard);
    std::byte* out = guarded.data() + 16;
    Ticket ticket;
    ASSERT_EQ(pair_.client.submit({nullptr, 0, out, capacity, 0, random() % 2 == 0}, ticket),
              Status::kOk);
    Slot& target = slot();
    std::array<std::uint64_t, sizeof(Slot) / 8> noise;
    for (auto& word : noise) word = random();
    std::memcpy(&target, noise.data(), sizeof(target));
    if (random() % 2 == 0) {
      target.reply.status = static_cast<std::uint8_t>(random() % 16);
      target.reply.size = capacity + random() % 5 - 2;
    }
    store_release(target.reply.sequence, ticket.sequence);
    ReplyView reply;
    ASSERT_EQ(pair_.client.poll(ticket, reply), Status::kOk);
    ASSERT_NO_FATAL_FAILURE(expect_valid(reply, capacity)) << "reply " << i;
    ASSERT_TRUE(std::all_of(guarded.begin(), guarded.begin() + 16,
                            [](std::byte b) { return b == kGuard; }));
    ASSERT_TRUE(
        std::all_of(guarded.end() - 16, guarded.end(), [](std::byte b) { return b == kGuard; }));
  }
  EXPECT_EQ(pair_.client.in_flight(), 0u);
}

TEST_F(HostileServer, CannotGrowAReplyThatHasBeenChecked) {
  std::atomic<bool> stop{false};
  std::thread scribbler([&] {
    std::mt19937_64 random(37);
    while (!stop.load(std::memory_order_relaxed)) {
      volatile ReplyLine& target = rings_[random() % kSlots].reply;
      const bool good = random() % 2 == 0;
      target.size = good ? 8 : 4000;
      target.status = good ? 0 : static_cast<std::uint8_t>(random());
      target.error_size = good ? std::uint16_t{3} : std::uint16_t{0xffff};
    }
  });
  // On a busy machine the other thread may run seldom: some of each kind are to be seen.
  constexpr int kOfEach = 50;
  int whole = 0;
  int broken = 0;
  const base::Deadline deadline = base::Deadline::after(kPatience);
  for (int i = 0; !HasFatalFailure() && !deadline.passed(); ++i) {
    if (i > 500'000 && whole > kOfEach && broken > kOfEach) break;
    std::array<std::byte, 64> guarded;
    guarded.fill(kGuard);
    Ticket ticket;
    const Status submitted = pair_.client.submit({nullptr, 0, guarded.data() + 24, 16}, ticket);
    if (submitted != Status::kOk) {
      ADD_FAILURE() << to_string(submitted);
      break;
    }
    store_release(slot().reply.sequence, ticket.sequence);
    ReplyView reply;
    EXPECT_EQ(pair_.client.poll(ticket, reply), Status::kOk);
    expect_valid(reply, 16);
    (reply.status == Status::kOk ? whole : broken) += 1;
    for (std::size_t at = 0; at < guarded.size(); ++at) {
      if (at < 24 || at >= 40) {
        EXPECT_EQ(guarded[at], kGuard);
      }
    }
    if (HasFailure()) break;
  }
  stop = true;
  scribbler.join();
  EXPECT_GT(whole, kOfEach);
  EXPECT_GT(broken, kOfEach);
}

TEST_F(HostileServer, EndsNoCallWithASequenceThatIsNotIts) {
  Ticket ticket;
  ASSERT_EQ(pair_.client.submit({}, ticket), Status::kOk);
  ReplyView reply;
  for (const std::uint32_t other : {0u, ticket.sequence - kSlots, ticket.sequence + kSlots, ~0u,
                                    ticket.sequence | kRequestMark}) {
    store_release(slot().reply.sequence, other);
    EXPECT_EQ(pair_.client.poll(ticket, reply), Status::kAgain) << other;
  }
}

TEST_F(HostileServer, CannotKeepTheClientWaitingBeyondItsDeadline) {
  auto& word = at<SleepWord>(mapping_.data(), pair_.layout.client_sleep())->sleeping;
  Ticket ticket;
  ASSERT_EQ(pair_.client.submit({}, ticket), Status::kOk);
  for (const std::uint32_t value : {0u, 1u, 2u, ~0u}) {
    store_release(word, value);
    ReplyView reply;
    EXPECT_EQ(pair_.client.wait(ticket, reply, base::Deadline::after(std::chrono::milliseconds(5))),
              Status::kDeadline);
  }
}

}  // namespace
}  // namespace sublet::transport::shm
