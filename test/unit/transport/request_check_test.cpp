#include <transport/common/call_lines.hpp>
#include <transport/common/reply_check.hpp>
#include <transport/common/request_check.hpp>

#include <gtest/gtest.h>

#include <array>
#include <cstring>
#include <limits>
#include <string>

namespace sublet::transport {
namespace {

constexpr std::uint64_t kMax = std::numeric_limits<std::uint64_t>::max();

class RequestCheck : public ::testing::Test {
 protected:
  bool placed(const void* in, std::uint64_t in_size, void* out, std::uint64_t out_capacity) {
    return place({in, in_size, out, out_capacity, 7, true}, arena_, placement_);
  }

  /// A request that the client's check has passed, as the worker sees it.
  Invocation seen(const Request& request) {
    EXPECT_TRUE(place(request, arena_, placement_));
    fill_line(line_, request, placement_);
    Invocation invocation;
    check_line(line_, 5, arena_, scratch_, invocation);
    return invocation;
  }
  void expect_refused(const char* what) {
    Invocation invocation;
    check_line(line_, 5, arena_, scratch_, invocation);
    EXPECT_EQ(invocation.verdict, Status::kInvalid) << what;
    EXPECT_EQ(invocation.in, nullptr) << what;
    EXPECT_EQ(invocation.out, nullptr) << what;
    EXPECT_FALSE(invocation.out_is_inline) << what;
  }

  std::array<std::byte, 4096> memory_{};
  std::array<std::byte, 64> elsewhere_{};
  ArenaRange arena_{memory_.data(), memory_.size()};
  Placement placement_;
  RequestLine line_{};
  InlineScratch scratch_;
};

TEST_F(RequestCheck, LetsSmallPayloadsLieAnywhere) {
  EXPECT_TRUE(placed(elsewhere_.data(), kInlineBytes, elsewhere_.data(), kInlineBytes));
  EXPECT_TRUE(placement_.in_is_inline && placement_.out_is_inline);
  EXPECT_FALSE(placed(elsewhere_.data(), kInlineBytes + 1, nullptr, 0));
  EXPECT_FALSE(placed(nullptr, 0, elsewhere_.data(), kInlineBytes + 1));
  // Beside an output in the arena there is less room.
  EXPECT_TRUE(placed(elsewhere_.data(), kInlineBytesBesideOffset, memory_.data(), 64));
  EXPECT_FALSE(placed(elsewhere_.data(), kInlineBytesBesideOffset + 1, memory_.data(), 64));
}

TEST_F(RequestCheck, KeepsLargePayloadsInTheArena) {
  EXPECT_TRUE(placed(memory_.data(), memory_.size(), memory_.data() + 4000, 96));
  EXPECT_EQ(placement_.in_offset, 0u);
  EXPECT_EQ(placement_.out_offset, 4000u);
  EXPECT_FALSE(placed(memory_.data() + 1, memory_.size(), nullptr, 0));
  EXPECT_FALSE(placed(memory_.data() - 1, 64, nullptr, 0));
  EXPECT_FALSE(placed(memory_.data() + memory_.size(), 41, nullptr, 0));
  EXPECT_FALSE(placed(memory_.data() + 64, kMax - 32, nullptr, 0));
  EXPECT_FALSE(placed(nullptr, 0, memory_.data() + 64, kMax));
}

TEST_F(RequestCheck, OfTheWorkerSeesWhatTheClientSaid) {
  const std::uint64_t in = 0x0123'4567'89ab'cdef;
  Invocation small = seen({&in, 8, elsewhere_.data(), 16, 7, true});
  EXPECT_EQ(small.verdict, Status::kOk);
  EXPECT_EQ(std::memcmp(small.in, &in, 8), 0);
  EXPECT_EQ(small.out, scratch_.data());
  EXPECT_TRUE(small.out_is_inline && small.traced);
  EXPECT_EQ(small.sequence, 5u);
  EXPECT_EQ(small.function, 7u);

  const Invocation large = seen({memory_.data() + 8, 100, memory_.data() + 200, 50, 7, false});
  EXPECT_EQ(large.verdict, Status::kOk);
  EXPECT_EQ(large.in, memory_.data() + 8);
  EXPECT_EQ(large.in_size, 100u);
  EXPECT_EQ(large.out, memory_.data() + 200);
  EXPECT_EQ(large.out_capacity, 50u);
  EXPECT_FALSE(large.out_is_inline || large.traced);

  const Invocation mixed = seen({&in, 8, memory_.data() + 200, 50, 7, false});
  EXPECT_EQ(std::memcmp(mixed.in, &in, 8), 0);
  EXPECT_EQ(mixed.out, memory_.data() + 200);
}

TEST_F(RequestCheck, OfTheWorkerRefusesWhatBreaksTheRules) {
  const auto offsets = [&](std::uint64_t in, std::uint64_t out) {
    std::memcpy(line_.body.data() + kInputOffsetAt, &in, 8);
    std::memcpy(line_.body.data() + kOutputOffsetAt, &out, 8);
  };
  line_ = {0, 0, kInputInline | kOutputInline, kInlineBytes + 1, 0, {}};
  expect_refused("an inline input that is too long");
  line_ = {0, 0, kInputInline | kOutputInline, 0, kInlineBytes + 1, {}};
  expect_refused("an inline output that is too long");
  line_ = {0, 0, kInputInline, kInlineBytesBesideOffset + 1, 64, {}};
  expect_refused("an inline input over the output's offset");
  line_ = {0, 0, 0, 64, 64, {}};
  offsets(memory_.size() - 63, 0);
  expect_refused("an input that reaches over the end");
  offsets(0, memory_.size() - 63);
  expect_refused("an output that reaches over the end");
  offsets(kMax - 8, 0);
  expect_refused("an input from before the start");
  line_ = {0, 0, 0, kMax, 64, {}};
  offsets(64, 0);
  expect_refused("an input that wraps");
}

TEST(ReplyCheck, TakesWhatTheLineCarries) {
  std::uint64_t out = 0;
  ReplyLine line{1, 0, 0, 0, 8, 99, {}};
  line.body[0] = std::byte{42};
  ReplyView reply;
  EXPECT_TRUE(take_line(line, &out, sizeof(out), reply));
  EXPECT_EQ(reply.status, Status::kOk);
  EXPECT_EQ(reply.size, 8u);
  EXPECT_EQ(reply.exec_ns, 99u);
  EXPECT_EQ(out, 42u);
}

TEST(ReplyCheck, LosesAReplyThatIsLongerThanItsOutput) {
  std::array<std::byte, 16> out{};
  const ReplyLine line{1, 0, 0, 0, 17, 0, {std::byte{1}}};
  ReplyView reply;
  EXPECT_TRUE(take_line(line, out.data(), out.size(), reply));
  EXPECT_EQ(reply.status, Status::kLost);
  EXPECT_EQ(reply.size, 0u);
  EXPECT_EQ(reply.error, kOverlongReply);
  EXPECT_EQ(out[0], std::byte{0}) << "it was copied";
}

TEST(ReplyCheck, LosesAReplyWithAStatusThatNoCallEndsWith) {
  for (const int status : {1, 12, 14, 255}) {  // kAgain, kDeadline, and none
    ReplyView reply;
    reply.status = static_cast<Status>(status);
    settle_failure(reply, "text");
    EXPECT_EQ(reply.status, Status::kLost) << status;
  }
}

TEST(ReplyCheck, KeepsTheTextOfAFailureAndTheSizeItAsksFor) {
  ReplyView reply;
  reply.status = Status::kFunctionError;
  reply.size = 5;
  settle_failure(reply, "no");
  EXPECT_EQ(reply.status, Status::kFunctionError);
  EXPECT_EQ(reply.size, 0u);
  EXPECT_EQ(reply.error, "no");
  reply.status = Status::kOutputTooLarge;
  reply.size = 5;
  settle_failure(reply, "more");
  EXPECT_EQ(reply.size, 5u);
}

}  // namespace
}  // namespace sublet::transport
