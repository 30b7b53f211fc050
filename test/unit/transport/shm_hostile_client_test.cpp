// A client that writes what it likes into the request ring, also while the worker reads it. Every
// invocation that comes out must be safe to run, or say that it must not be run.

#include "shm_pair.hpp"

#include <gtest/gtest.h>

#include <array>
#include <atomic>
#include <cstring>
#include <random>
#include <thread>

namespace sublet::transport::shm {
namespace {

constexpr std::uint32_t kSlots = 4;
constexpr auto kPatience = std::chrono::seconds(20);

class HostileClient : public ::testing::Test {
 protected:
  HostileClient()
      : pair_({kSlots, FenceMode::kSymmetric}),
        mapping_(pair_.hostile_mapping()),
        rings_(at<Slot>(mapping_.data(), pair_.layout.ring())) {}

  /// The worker finds a request in the slot of the last one and in the next: this moves on.
  RequestLine& line(std::uint32_t sequence) { return rings_[sequence % kSlots].request; }

  static bool within(const void* pointer, std::uint64_t size, const std::byte* base,
                     std::size_t length) {
    const auto offset =
        reinterpret_cast<std::uintptr_t>(pointer) - reinterpret_cast<std::uintptr_t>(base);
    return offset <= length && size <= length - offset;
  }
  bool shared(const void* pointer) const {
    return within(pointer, 1, pair_.memory->data(), pair_.memory->size()) ||
           within(pointer, 1, mapping_.data(), mapping_.size());
  }

  /// Fails unless everything the invocation names may be used: touches the private parts, which an
  /// address sanitizer watches, and computes where the others lie.
  void expect_safe(const Invocation& invocation) {
    const std::byte* arena = pair_.arena->data();
    const std::size_t size = pair_.arena->size();
    if (invocation.verdict != Status::kOk) {
      ASSERT_EQ(invocation.verdict, Status::kInvalid);
      ASSERT_EQ(invocation.in, nullptr);
      ASSERT_EQ(invocation.out, nullptr);
      ASSERT_FALSE(invocation.out_is_inline);
      return;
    }
    if (!within(invocation.in, invocation.in_size, arena, size)) {
      ASSERT_LE(invocation.in_size, kInlineBytes);
      ASSERT_FALSE(shared(invocation.in)) << "the client could still change a small input";
      std::array<std::byte, kInlineBytes> copy;
      std::memcpy(copy.data(), invocation.in, invocation.in_size);
    }
    if (invocation.out_is_inline) {
      ASSERT_LE(invocation.out_capacity, kInlineBytes);
      ASSERT_FALSE(shared(invocation.out));
      std::memset(invocation.out, 0x5a, invocation.out_capacity);
    } else {
      ASSERT_TRUE(within(invocation.out, invocation.out_capacity, arena, size));
    }
  }

  void complete(const Invocation& invocation) {
    pair_.server.complete(invocation, {invocation.verdict, 0, 0, 0, 0, "refused"});
  }

  ShmPair pair_;
  base::SharedMemory mapping_;
  Slot* rings_;
};

/// Values at which a check could be off by one, or could overflow.
std::uint64_t interesting(std::mt19937_64& random, std::uint64_t arena_size) {
  const std::array<std::uint64_t, 12> around{0,
                                             8,
                                             kInlineBytesBesideOffset,
                                             kInlineBytes,
                                             64,
                                             4096,
                                             arena_size / 2,
                                             arena_size,
                                             1ull << 32,
                                             1ull << 63,
                                             ~0ull,
                                             ~0ull - arena_size};
  const std::uint64_t value = around[random() % around.size()];
  switch (random() % 4) {
    case 0:
      return random();
    case 1:
      return random() % (arena_size + 1);
    default:
      return value + random() % 5 - 2;
  }
}

TEST_F(HostileClient, NeverMakesTheWorkerLeaveTheArena) {
  std::mt19937_64 random(23);
  int run = 0;
  int refused = 0;
  for (std::uint32_t sequence = 1; sequence <= 400'000; ++sequence) {
    RequestLine& target = line(sequence);
    if (random() % 8 == 0) {
      std::array<std::uint64_t, sizeof(RequestLine) / 8> noise;
      for (auto& word : noise) word = random();
      std::memcpy(&target, noise.data(), sizeof(target));
    } else {
      target.function = static_cast<std::uint16_t>(random());
      target.flags = static_cast<std::uint16_t>(random() % 2 == 0 ? random() % 8 : random());
      target.in_size = interesting(random, pair_.arena->size());
      target.out_capacity = interesting(random, pair_.arena->size());
      const std::uint64_t in = interesting(random, pair_.arena->size());
      const std::uint64_t out = interesting(random, pair_.arena->size());
      std::memcpy(target.body.data() + kInputOffsetAt, &in, sizeof(in));
      std::memcpy(target.body.data() + kOutputOffsetAt, &out, sizeof(out));
    }
    store_release(target.sequence, sequence | kRequestMark);
    Invocation invocation;
    ASSERT_TRUE(pair_.server.poll(invocation));
    ASSERT_EQ(invocation.sequence, sequence);
    ASSERT_NO_FATAL_FAILURE(expect_safe(invocation)) << "request " << sequence;
    (invocation.verdict == Status::kOk ? run : refused) += 1;
    complete(invocation);
  }
  // Neither half of the checks was left out.
  EXPECT_GT(run, 10'000);
  EXPECT_GT(refused, 10'000);
}

TEST_F(HostileClient, CannotMoveARequestThatHasBeenChecked) {
  std::atomic<bool> stop{false};
  std::atomic<std::uint32_t> current{1};
  // Turns good sizes, offsets and flags into bad ones and back, as fast as it can.
  std::thread scribbler([&] {
    std::mt19937_64 random(29);
    while (!stop.load(std::memory_order_relaxed)) {
      volatile RequestLine& target = line(current.load(std::memory_order_relaxed));
      const bool good = random() % 2 == 0;
      target.in_size = good ? 8 : ~0ull;
      target.out_capacity = good ? 8 : 1ull << 40;
      target.flags = static_cast<std::uint16_t>(random() % 4);
      const std::uint64_t offset = good ? 128 : ~0ull - 4;
      auto* words = reinterpret_cast<volatile std::uint64_t*>(
          const_cast<std::byte*>(const_cast<RequestLine&>(target).body.data()));
      words[kInputOffsetAt / 8] = offset;
      words[kOutputOffsetAt / 8] = offset;
    }
  });
  int run = 0;
  int refused = 0;
  const base::Deadline deadline = base::Deadline::after(kPatience);
  for (std::uint32_t sequence = 1; !HasFatalFailure() && !deadline.passed(); ++sequence) {
    if (sequence > 200'000 && run > 1000 && refused > 1000) break;
    current.store(sequence, std::memory_order_relaxed);
    store_release(line(sequence).sequence, sequence | kRequestMark);
    Invocation invocation;
    if (!pair_.server.poll(invocation)) {
      ADD_FAILURE() << "request " << sequence << " was not seen";
      break;
    }
    expect_safe(invocation);
    (invocation.verdict == Status::kOk ? run : refused) += 1;
    complete(invocation);
  }
  stop = true;
  scribbler.join();
  EXPECT_GT(run, 1000);
  EXPECT_GT(refused, 1000);
}

TEST_F(HostileClient, GetsNoAnswerToASequenceThatIsNotNext) {
  Invocation invocation;
  // The third is a reply of 2^31 calls ago, as a slot may hold that no call has used since.
  for (const std::uint32_t word : {kRequestMark, 2u | kRequestMark, 1u, ~0u, 0u}) {
    for (std::uint32_t slot = 0; slot < kSlots; ++slot) {
      store_release(rings_[slot].request.sequence, word);
    }
    ASSERT_FALSE(pair_.server.poll(invocation)) << word;
  }
}

TEST_F(HostileClient, GetsOneAnswerToARequestInBothPlaces) {
  Invocation invocation;
  store_release(rings_[0].request.sequence, 1u | kRequestMark);
  store_release(rings_[1].request.sequence, 1u | kRequestMark);
  ASSERT_TRUE(pair_.server.poll(invocation));
  complete(invocation);
  EXPECT_FALSE(pair_.server.poll(invocation));
}

TEST_F(HostileClient, CannotKeepTheWorkerFromItsSleepForEver) {
  // Whatever is in the word, sleep() ends by its limit and interrupt() by itself.
  auto& word = at<SleepWord>(mapping_.data(), pair_.layout.worker_sleep())->sleeping;
  for (const std::uint32_t value : {0u, 1u, 2u, ~0u}) {
    store_release(word, value);
    pair_.server.sleep(std::chrono::milliseconds(1));
    EXPECT_TRUE(pair_.server.is_open());
  }
}

}  // namespace
}  // namespace sublet::transport::shm
