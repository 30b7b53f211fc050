#pragma once

// Sizes, the arena's rules, zero copy.

#include "fixture.hpp"

#include <array>
#include <cstdint>
#include <deque>
#include <limits>
#include <random>
#include <vector>

namespace sublet::conformance {

inline constexpr std::array<std::uint64_t, 15> kPayloadSizes{
    0, 1, 7, 8, 32, 33, 39, 40, 41, 64, 1u << 10, 4u << 10, 64u << 10, 1u << 20, 64u << 20};

template <class T>
class Payloads : public Fixture<T> {
 protected:
  static constexpr std::uint64_t kLargest = 64u << 20;
  static constexpr std::byte kGuard{0xa7};

  void SetUp() override {
    Fixture<T>::SetUp();
    if (this->IsSkipped()) return;
    this->make_arena(3 * kLargest);
    this->start();
  }

  /// A place in the arena with `size` bytes between guards.
  class Place {
   public:
    Place(std::shared_ptr<transport::Arena> arena, std::uint64_t size)
        : arena_(std::move(arena)),
          size_(size),
          start_(static_cast<std::byte*>(arena_->allocate(size + 2 * kMargin))) {
      std::memset(start_, static_cast<int>(kGuard), kMargin);
      std::memset(start_ + kMargin + size, static_cast<int>(kGuard), kMargin);
    }
    Place(const Place&) = delete;
    Place& operator=(const Place&) = delete;
    ~Place() { arena_->deallocate(start_, size_ + 2 * kMargin); }

    [[nodiscard]] std::byte* data() const { return start_ + kMargin; }
    [[nodiscard]] std::uint64_t size() const { return size_; }
    [[nodiscard]] bool guards_hold() const {
      const auto good = [](std::byte b) { return b == kGuard; };
      return std::all_of(start_, start_ + kMargin, good) &&
             std::all_of(data() + size_, data() + size_ + kMargin, good);
    }

   private:
    static constexpr std::uint64_t kMargin = 64;
    std::shared_ptr<transport::Arena> arena_;
    std::uint64_t size_;
    std::byte* start_;
  };

  /// A request that breaks the rules: refused, and nothing is lost.
  void expect_invalid(typename T::Client& client, const Request& bad, const char* what) {
    const std::uint32_t before = client.in_flight();
    Ticket ticket;
    EXPECT_EQ(client.submit(bad, ticket), Status::kInvalid) << what;
    EXPECT_EQ(client.in_flight(), before) << what;
  }
};

TYPED_TEST_SUITE_P(Payloads);

TYPED_TEST_P(Payloads, GoIn) {
  auto client = this->connect();
  for (const std::uint64_t size : kPayloadSizes) {
    typename TestFixture::Place in(this->arena(), size);
    fill(in.data(), size, size);
    std::uint64_t out = 0;
    const auto reply =
        this->call(client, this->request(Function::kDigest, in.data(), size, &out, 8));
    ASSERT_EQ(reply.status, Status::kOk) << size << ": " << reply.error;
    EXPECT_EQ(reply.size, 8u);
    EXPECT_EQ(out, digest(in.data(), size)) << size;
    EXPECT_TRUE(in.guards_hold());
  }
}

TYPED_TEST_P(Payloads, ComeOut) {
  auto client = this->connect();
  for (const std::uint64_t size : kPayloadSizes) {
    typename TestFixture::Place out(this->arena(), size);
    std::memset(out.data(), 0, size);
    const std::uint64_t seed = size * 7 + 1;
    const auto reply =
        this->call(client, this->request(Function::kFill, &seed, 8, out.data(), size));
    ASSERT_EQ(reply.status, Status::kOk) << size << ": " << reply.error;
    EXPECT_EQ(reply.size, size);
    EXPECT_TRUE(out.guards_hold()) << "written outside an output of " << size;
    typename TestFixture::Place expected(this->arena(), size);
    fill(expected.data(), size, seed);
    EXPECT_EQ(std::memcmp(out.data(), expected.data(), size), 0) << size;
  }
}

TYPED_TEST_P(Payloads, GoBothWays) {
  auto client = this->connect();
  for (const std::uint64_t size : kPayloadSizes) {
    typename TestFixture::Place in(this->arena(), size);
    typename TestFixture::Place out(this->arena(), size);
    fill(in.data(), size, 3 * size);
    std::memset(out.data(), 0, size);
    const auto reply =
        this->call(client, this->request(Function::kEcho, in.data(), size, out.data(), size));
    ASSERT_EQ(reply.status, Status::kOk) << size << ": " << reply.error;
    EXPECT_EQ(reply.size, size);
    EXPECT_EQ(std::memcmp(in.data(), out.data(), size), 0) << size;
    EXPECT_TRUE(in.guards_hold() && out.guards_hold()) << size;
  }
}

TYPED_TEST_P(Payloads, MayLieAnywhereWhenTheyAreSmall) {
  auto client = this->connect();
  for (std::uint64_t size = 0; size <= transport::kInlineBytes; ++size) {
    // On the heap and of the exact size: an address sanitizer watches both ends.
    std::vector<std::byte> in(size);
    std::vector<std::byte> out(size);
    fill(in.data(), size, size + 100);
    auto reply =
        this->call(client, this->request(Function::kEcho, in.data(), size, out.data(), size));
    ASSERT_EQ(reply.status, Status::kOk) << size;
    EXPECT_EQ(reply.size, size);
    EXPECT_EQ(in, out) << size;
    // With a larger output, which must lie in the arena and takes some of the room.
    if (size > transport::kInlineBytesBesideOffset) continue;
    typename TestFixture::Place large(this->arena(), 4096);
    reply = this->call(client, this->request(Function::kEcho, in.data(), size, large.data(), 4096));
    ASSERT_EQ(reply.status, Status::kOk) << size;
    EXPECT_EQ(reply.size, size);
    EXPECT_TRUE(std::equal(in.begin(), in.end(), large.data())) << size;
  }
}

TYPED_TEST_P(Payloads, AreTheVeryBytesOfTheArena) {
  if (!TypeParam::kSharesMemory) GTEST_SKIP() << "its workers have copies";
  auto client = this->connect();
  for (const std::uint64_t size :
       {std::uint64_t{41}, std::uint64_t{4096}, std::uint64_t{1} << 20}) {
    typename TestFixture::Place place(this->arena(), size);
    fill(place.data(), size, 5);
    std::vector<std::byte> expected(place.data(), place.data() + size);
    for (auto& byte : expected) byte = static_cast<std::byte>(static_cast<unsigned>(byte) + 1);
    // What the function does to its input the client sees, at the same place.
    auto reply = this->call(client, this->request(Function::kIncrement, place.data(), size));
    ASSERT_EQ(reply.status, Status::kOk);
    EXPECT_EQ(std::memcmp(place.data(), expected.data(), size), 0);
    // And what the client does while the function runs the function sees.
    typename TestFixture::Place out(this->arena(), size);
    const std::uint64_t entered = this->worker().entered;
    const Ticket ticket =
        this->submit(client, this->request(Function::kWait, place.data(), size, out.data(), size));
    ASSERT_TRUE(await([&] { return this->worker().entered == entered + 1; }));
    fill(place.data(), size, 6);
    this->control_.open_gate();
    ASSERT_EQ(this->collect(client, ticket).status, Status::kOk);
    EXPECT_EQ(std::memcmp(place.data(), out.data(), size), 0) << "the input had been copied";
    // One place may be both.
    reply =
        this->call(client, this->request(Function::kEcho, place.data(), size, place.data(), size));
    EXPECT_EQ(reply.status, Status::kOk);
    EXPECT_TRUE(place.guards_hold());
  }
}

TYPED_TEST_P(Payloads, OutsideTheArenaAreRefused) {
  auto client = this->connect();
  auto arena = this->arena();
  std::byte* start = arena->data();
  std::byte* end = start + arena->size();
  std::array<std::byte, 4096> stack{};
  constexpr std::uint64_t kHuge = std::numeric_limits<std::uint64_t>::max();
  const auto in = [&](const void* data, std::uint64_t size) {
    return this->request(Function::kEcho, data, size);
  };
  const auto out = [&](void* data, std::uint64_t size) {
    return this->request(Function::kEcho, nullptr, 0, data, size);
  };
  const Ticket under_way = this->submit(client, this->request(Function::kWait, nullptr, 0));
  this->expect_invalid(client, in(stack.data(), 41), "an input of 41 on the stack");
  this->expect_invalid(client, in(stack.data(), 4096), "an input of 4096 on the stack");
  this->expect_invalid(client, in(start - 1, 41), "an input from before the arena");
  this->expect_invalid(client, in(end - 40, 41), "an input to behind the arena");
  this->expect_invalid(client, in(end, 41), "an input behind the arena");
  this->expect_invalid(client, in(nullptr, 41), "a null input");
  this->expect_invalid(client, in(start, arena->size() + 1), "an input longer than the arena");
  this->expect_invalid(client, in(start + 64, kHuge), "an input that wraps");
  this->expect_invalid(client, in(start + 64, kHuge - 63), "an input that wraps to the start");
  this->expect_invalid(client, out(stack.data(), 41), "an output of 41 on the stack");
  this->expect_invalid(client, out(start - 1, 41), "an output from before the arena");
  this->expect_invalid(client, out(end - 40, 41), "an output to behind the arena");
  this->expect_invalid(client, out(nullptr, 41), "a null output");
  this->expect_invalid(client, out(start + 64, kHuge), "an output that wraps");
  this->expect_invalid(client, this->request(Function::kEcho, stack.data(), 33, start, 41),
                       "an input of 33 on the stack beside an output in the arena");
  this->control_.open_gate();
  EXPECT_EQ(this->collect(client, under_way).status, Status::kOk);
  // The limits themselves are allowed.
  auto reply = this->call(client, in(end - 41, 41));
  EXPECT_NE(reply.status, Status::kInvalid);
  reply = this->call(client, this->request(Function::kEcho, stack.data(), 32, end - 41, 41));
  EXPECT_EQ(reply.status, Status::kOk);
  for (std::uint32_t i = 0; i < 2 * client.slots(); ++i) this->expect_working(client);
}

TYPED_TEST_P(Payloads, MayBeLargerThan4GiB) {
  if (!TypeParam::kSharesMemory) GTEST_SKIP() << "so much would really have to travel";
  constexpr std::uint64_t kGiB = std::uint64_t{1} << 30;
  this->make_arena(12 * kGiB);  // sparse: only what is touched takes memory
  auto client = this->connect();
  auto arena = this->arena();
  std::byte* start = arena->data();
  const auto put = [](std::byte* at, std::uint64_t value) { std::memcpy(at, &value, 8); };
  const auto get = [](const std::byte* at) {
    std::uint64_t value = 0;
    std::memcpy(&value, at, 8);
    return value;
  };
  // An offset beyond 4 GiB; 4 GiB lower there is something else.
  constexpr std::size_t kInside = 800;
  put(start + kInside, 1);
  put(start + 4 * kGiB + kInside, 2);
  Measured measured{};
  auto reply = this->call(client, this->request(Function::kMeasure, start + 4 * kGiB + kInside, 64,
                                                &measured, sizeof(measured)));
  ASSERT_EQ(reply.status, Status::kOk) << reply.error;
  EXPECT_EQ(measured.first, 2u);
  EXPECT_EQ(measured.in_size, 64u);
  // An input and an output of more than 4 GiB.
  constexpr std::uint64_t kSize = 5 * kGiB + 8;
  put(start, 3);
  put(start + kSize - 8, 4);
  put(start + kSize - 8 - 4 * kGiB, 5);
  reply =
      this->call(client, this->request(Function::kMeasure, start, kSize, start + 6 * kGiB, kSize));
  ASSERT_EQ(reply.status, Status::kOk) << reply.error;
  std::memcpy(&measured, start + 6 * kGiB, sizeof(measured));
  EXPECT_EQ(measured.in_size, kSize);
  EXPECT_EQ(measured.out_capacity, kSize);
  EXPECT_EQ(measured.first, 3u);
  EXPECT_EQ(measured.last, 4u);
  const std::uint64_t stamp = 77;
  reply =
      this->call(client, this->request(Function::kStampEnd, &stamp, 8, start + 6 * kGiB, kSize));
  ASSERT_EQ(reply.status, Status::kOk) << reply.error;
  EXPECT_EQ(reply.size, kSize);
  EXPECT_EQ(get(start + 6 * kGiB + kSize - 8), stamp);
  EXPECT_EQ(get(start + 6 * kGiB + kSize - 8 - 4 * kGiB), 0u);
}

TYPED_TEST_P(Payloads, OfAllSizesMixInFlight) {
  auto client = this->connect();
  struct Open {
    Ticket ticket;
    std::unique_ptr<typename TestFixture::Place> in;
    std::unique_ptr<typename TestFixture::Place> out;
  };
  std::deque<Open> open;
  std::mt19937_64 random(41);
  const auto collect_first = [&] {
    const auto reply = this->collect(client, open.front().ticket);
    EXPECT_EQ(reply.status, Status::kOk) << reply.error;
    EXPECT_EQ(reply.size, open.front().in->size());
    EXPECT_EQ(std::memcmp(open.front().in->data(), open.front().out->data(), reply.size), 0);
    EXPECT_TRUE(open.front().in->guards_hold() && open.front().out->guards_hold());
    open.pop_front();
  };
  for (std::uint64_t i = 0; i < 3'000 && !this->HasFailure(); ++i) {
    while (open.size() > random() % client.slots()) collect_first();
    const std::uint64_t size = random() % (std::uint64_t{1} << (random() % 17));
    Open& call = open.emplace_back();
    call.in = std::make_unique<typename TestFixture::Place>(this->arena(), size);
    call.out = std::make_unique<typename TestFixture::Place>(this->arena(), size + random() % 3);
    fill(call.in->data(), size, i);
    call.ticket = this->submit(client, this->request(Function::kEcho, call.in->data(), size,
                                                     call.out->data(), call.out->size()));
  }
  while (!open.empty()) collect_first();
}

REGISTER_TYPED_TEST_SUITE_P(Payloads, GoIn, ComeOut, GoBothWays, MayLieAnywhereWhenTheyAreSmall,
                            AreTheVeryBytesOfTheArena, OutsideTheArenaAreRefused,
                            MayBeLargerThan4GiB, OfAllSizesMixInFlight);

}  // namespace sublet::conformance
