// Messages of a peer that may be anybody: what it may make the process do, read and keep.

#include <common/guarded_stream.hpp>

#include <capnp/message.h>
#include <capnp/serialize.h>
#include <gtest/gtest.h>
#include <kj/async-io.h>

#include <cstdint>
#include <memory>
#include <vector>

namespace sublet::manager {
namespace {

using Reader = kj::Maybe<capnp::MessageReaderAndFds>;

class GuardedStreamTest : public testing::Test {
 protected:
  GuardedStreamTest()
      : timer_(kj::origin<kj::TimePoint>()),
        pipe_(kj::newTwoWayPipe()),
        peer_(std::make_shared<Peer>(kj::mv(pipe_.ends[0]))) {
    peer_->set_place(table_.take("somebody", [] {}), nullptr);
    stream_ = kj::heap<GuardedStream>(peer_, timer_, budgets_);
  }

  ~GuardedStreamTest() noexcept override {}

  static kj::Array<capnp::word> message(std::size_t data_bytes) {
    capnp::MallocMessageBuilder builder;
    builder.initRoot<capnp::AnyPointer>().initAs<capnp::Data>(static_cast<unsigned>(data_bytes));
    return capnp::messageToFlatArray(builder);
  }
  /// On its way; the result ends when all of it has been taken.
  kj::Promise<void> send(kj::ArrayPtr<const kj::byte> bytes) {
    return pipe_.ends[1]->write(bytes.begin(), bytes.size());
  }
  std::size_t read_size(kj::Promise<Reader>&& reading) {
    auto message = reading.wait(io_.waitScope);
    KJ_IF_MAYBE (found, message) {
      return found->reader->getRoot<capnp::AnyPointer>().getAs<capnp::Data>().size();
    }
    return 0;
  }
  kj::Promise<Reader> read() { return stream_->tryReadMessage(nullptr, {}, nullptr); }
  bool comes(kj::Promise<Reader>& reading) { return reading.poll(io_.waitScope); }
  void pass(kj::Duration time) {
    for (const kj::Duration step : {time, 1 * kj::SECONDS}) {  // and a last look
      timer_.advanceTo(timer_.now() + step);
      io_.waitScope.poll();
    }
  }

  kj::AsyncIoContext io_ = kj::setupAsyncIo();
  kj::TimerImpl timer_;
  ConnectionTable table_{4};
  GuardedStream::Budgets budgets_;
  kj::TwoWayPipe pipe_;
  std::shared_ptr<Peer> peer_;
  kj::Own<GuardedStream> stream_;
};

TEST_F(GuardedStreamTest, CarriesMessagesOfAllSizes) {
  for (const std::size_t size : {0u, 1u, 5000u, 1000000u}) {
    const auto words = message(size);
    auto sent = send(words.asBytes());
    EXPECT_EQ(read_size(read()), size);
    sent.wait(io_.waitScope);
  }
  EXPECT_TRUE(peer_->place()->was_heard());
  EXPECT_EQ(budgets_.strangers.used(), 0u) << "all are read and gone";
}

TEST_F(GuardedStreamTest, ReadsWhatAPeerHasSaidThatIsGoneWhenItIsAnswered) {
  auto pipe = io_.provider->newTwoWayPipe();
  const auto peer = std::make_shared<Peer>(kj::mv(pipe.ends[0]));
  peer->set_place(table_.take("somebody", [] {}), nullptr);
  GuardedStream stream(peer, timer_, budgets_);
  const auto words = message(100);
  pipe.ends[1]->write(words.begin(), words.asBytes().size()).wait(io_.waitScope);
  pipe.ends[1] = nullptr;
  const kj::ArrayPtr<const capnp::word> answer[] = {words.asPtr()};
  for (int i = 0; i < 2; ++i) stream.writeMessage(nullptr, answer).wait(io_.waitScope);
  EXPECT_EQ(read_size(stream.tryReadMessage(nullptr, {}, nullptr)), 100u);
  EXPECT_EQ(read_size(stream.tryReadMessage(nullptr, {}, nullptr)), 0u) << "and then its end";
}

TEST_F(GuardedStreamTest, TakesAMessageInPieces) {
  const auto words = message(100);
  auto reading = read();
  for (const kj::byte& byte : words.asBytes()) {
    EXPECT_FALSE(comes(reading));
    send(kj::arrayPtr(&byte, 1)).wait(io_.waitScope);
  }
  EXPECT_EQ(read_size(kj::mv(reading)), 100u);
}

TEST_F(GuardedStreamTest, RefusesAMessageByItsAnnouncedSize) {
  const std::uint32_t too_large[] = {0, (wire::kMaxStrangersMessage >> 3) + 1};
  auto sent = send(kj::arrayPtr(reinterpret_cast<const kj::byte*>(too_large), sizeof(too_large)));
  EXPECT_THROW(read().wait(io_.waitScope), kj::Exception);
  EXPECT_EQ(budgets_.strangers.used(), 0u);
}

TEST_F(GuardedStreamTest, TakesALargerMessageFromWhoHoldsSomething) {
  const auto held = hold_place(peer_);
  const auto words = message(wire::kMaxStrangersMessage + 1);
  auto sent = send(words.asBytes());
  EXPECT_EQ(read_size(read()), wire::kMaxStrangersMessage + 1);
  sent.wait(io_.waitScope);
}

TEST_F(GuardedStreamTest, RefusesWhatIsNoMessage) {
  const std::uint32_t garbage[] = {0xDEADBEEF, 0xDEADBEEF};
  auto sent = send(kj::arrayPtr(reinterpret_cast<const kj::byte*>(garbage), sizeof(garbage)));
  EXPECT_THROW(read().wait(io_.waitScope), kj::Exception);
}

TEST_F(GuardedStreamTest, EndsWhoSaysNothingAtFirst) {
  auto reading = read();
  EXPECT_FALSE(comes(reading));
  pass(31 * kj::SECONDS);
  EXPECT_THROW(reading.wait(io_.waitScope), kj::Exception);
}

TEST_F(GuardedStreamTest, WaitsAnyTimeForWhoHasSpoken) {
  const auto words = message(1);
  auto sent = send(words.asBytes());
  EXPECT_EQ(read_size(read()), 1u);
  auto reading = read();
  EXPECT_FALSE(comes(reading));
  pass(24 * kj::HOURS);
  EXPECT_FALSE(comes(reading));
  auto again = send(words.asBytes());
  EXPECT_EQ(read_size(kj::mv(reading)), 1u);
}

TEST_F(GuardedStreamTest, EndsWhoNeverEndsHisMessage) {
  const auto words = message(100000);
  auto reading = read();
  auto sent = send(words.asBytes().slice(0, 5000));
  EXPECT_FALSE(comes(reading));
  EXPECT_GT(budgets_.strangers.used(), 100000u);
  pass(31 * kj::SECONDS);
  EXPECT_THROW(reading.wait(io_.waitScope), kj::Exception);
  EXPECT_EQ(budgets_.strangers.used(), 0u);
}

TEST_F(GuardedStreamTest, ReadsNothingMoreWhileNobodyReadsTheAnswers) {
  const auto words = message(100);
  kj::ArrayPtr<const capnp::word> segment = words.slice(1, words.size());
  kj::ArrayPtr<const kj::ArrayPtr<const capnp::word>> segments(&segment, 1);
  auto answer = stream_->writeMessage(nullptr, segments);  // the pipe holds nothing
  auto sent = send(words.asBytes());
  auto reading = read();
  EXPECT_FALSE(comes(reading));
  EXPECT_FALSE(sent.poll(io_.waitScope)) << "it has been read";
  std::vector<kj::byte> taken(words.asBytes().size());
  pipe_.ends[1]->read(taken.data(), taken.size()).wait(io_.waitScope);
  answer.wait(io_.waitScope);
  EXPECT_EQ(read_size(kj::mv(reading)), 100u);
}

TEST_F(GuardedStreamTest, EndsWhoNeverReads) {
  const auto words = message(100);
  kj::ArrayPtr<const capnp::word> segment = words.slice(1, words.size());
  kj::ArrayPtr<const kj::ArrayPtr<const capnp::word>> segments(&segment, 1);
  auto answer = stream_->writeMessage(nullptr, segments);
  pass(31 * kj::SECONDS);
  EXPECT_THROW(answer.wait(io_.waitScope), kj::Exception);
}

TEST(MessageBudget, LetsNobodyHaveMoreThanHalf) {
  kj::EventLoop loop;
  kj::WaitScope scope(loop);
  MessageBudget budget(100);
  auto first = budget.take("a", 50).wait(scope);
  auto second = budget.take("a", 10);
  EXPECT_FALSE(second.poll(scope));
  auto other = budget.take("b", 40).wait(scope);
  auto third = budget.take("c", 20);
  EXPECT_FALSE(third.poll(scope)) << "there are 10 left";
  other = nullptr;
  auto shared = third.wait(scope);
  EXPECT_FALSE(second.poll(scope));
  first = nullptr;
  second.wait(scope);
}

TEST(MessageBudget, ForgetsWhoHasGoneWhileWaiting) {
  kj::EventLoop loop;
  kj::WaitScope scope(loop);
  MessageBudget budget(100);
  auto all = budget.take("a", 50).wait(scope);
  { auto gone = budget.take("a", 50); }
  auto next = budget.take("a", 20);
  all = nullptr;
  next.wait(scope);
  EXPECT_EQ(budget.used(), 0u);
}

}  // namespace
}  // namespace sublet::manager
