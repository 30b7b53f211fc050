// An executor that answers with nonsense, in pieces, or not at all. The client never writes beyond
// the outputs it was given, and every call ends once.

#include "process.hpp"
#include "tcp_pair.hpp"

#include <algorithm>
#include <array>
#include <optional>
#include <random>

namespace sublet::transport::tcp {
namespace {

constexpr std::byte kGuard{0xd5};
constexpr std::uint32_t kSlots = 4;

class TcpHostileServer : public ::testing::Test {
 protected:
  TcpHostileServer() { reconnect(); }

  void reconnect(ClientTerms terms = {}) {
    auto [client, server] = connected_sockets();
    server_ = std::move(server);
    terms.slots = kSlots;
    client_ = std::make_unique<ClientChannel>(Stream(std::move(client)), arena_, terms);
  }

  Ticket submit(void* out = nullptr, std::uint64_t capacity = 0) {
    Ticket ticket;
    EXPECT_EQ(client_->submit({nullptr, 0, out, capacity, 0, false}, ticket), Status::kOk);
    return ticket;
  }
  /// Fails instead of hanging.
  ReplyView collect(Ticket ticket) {
    ReplyView reply;
    EXPECT_EQ(client_->wait(ticket, reply, base::Deadline::after(kTestPatience)), Status::kOk);
    return reply;
  }
  static ReplyHeader header(Ticket ticket, Status status = Status::kOk, std::uint64_t size = 0) {
    ReplyHeader reply{};
    reply.sequence = ticket.sequence;
    reply.status = static_cast<std::uint8_t>(status);
    reply.size = size;
    return reply;
  }

  /// The channel ends with the call, saying why, and nothing else is written.
  void expect_broken(Ticket ticket, const std::string& why) {
    const ReplyView reply = collect(ticket);
    EXPECT_EQ(reply.status, Status::kLost);
    EXPECT_NE(reply.error.find(why), std::string_view::npos) << reply.error;
    EXPECT_FALSE(client_->is_open());
    Ticket more;
    EXPECT_EQ(client_->submit({}, more), Status::kClosed);
  }

  std::shared_ptr<Arena> arena_ = Arena::create(64u << 20).value_or_throw();
  base::Fd server_;
  std::unique_ptr<ClientChannel> client_;
};

TEST_F(TcpHostileServer, LosesTheChannelWithAReplyLongerThanItsOutput) {
  for (const std::size_t capacity :
       {std::size_t{0}, std::size_t{8}, std::size_t{40}, std::size_t{41}, std::size_t{4096}}) {
    reconnect();
    auto* place = static_cast<std::byte*>(arena_->allocate(capacity + 256));
    std::fill_n(place, capacity + 256, kGuard);
    const Ticket ticket = submit(place + 128, capacity);
    const std::vector<std::byte> payload(capacity + 1);
    ASSERT_TRUE(send_all(server_.get(), header(ticket, Status::kOk, payload.size())));
    ASSERT_TRUE(send_all(server_.get(), payload.data(), payload.size()));
    const Ticket behind = submit();
    expect_broken(ticket, "longer than the output");
    EXPECT_EQ(collect(behind).status, Status::kLost);
    EXPECT_EQ(client_->in_flight(), 0u);
    EXPECT_TRUE(
        std::all_of(place, place + capacity + 256, [](std::byte b) { return b == kGuard; }));
    arena_->deallocate(place, capacity + 256);
  }
}

TEST_F(TcpHostileServer, LosesTheChannelWithAnUnknownNumber) {
  for (const std::uint32_t number : {0u, 2u, 5u, 0xffff'ffffu}) {
    reconnect();
    const Ticket ticket = submit();
    ASSERT_TRUE(send_all(server_.get(), header(Ticket{number})));
    expect_broken(ticket, "not under way");
  }
}

TEST_F(TcpHostileServer, LosesTheChannelWithASecondReplyToOneCall) {
  const Ticket first = submit();
  const Ticket second = submit();
  ASSERT_TRUE(send_all(server_.get(), header(first)));
  ASSERT_TRUE(send_all(server_.get(), header(first)));
  expect_broken(second, "not under way");
  EXPECT_EQ(collect(first).status, Status::kOk) << "that reply had come before";
}

TEST_F(TcpHostileServer, LosesTheChannelWithAReplyWhenNoCallIsUnderWay) {
  ASSERT_TRUE(send_all(server_.get(), header(Ticket{1})));
  const auto deadline = base::Deadline::after(kTestPatience);
  while (client_->check_peer() && !deadline.passed()) {
  }
  EXPECT_FALSE(client_->is_open());
}

TEST_F(TcpHostileServer, LosesTheChannelWithAReplyToWhatHasNotBeenSentYet) {
  constexpr std::size_t kMuch = 48u << 20;  // more than the sockets take
  void* in = arena_->allocate(kMuch);
  Ticket ticket;
  ASSERT_EQ(client_->submit({in, kMuch, nullptr, 0, 0, false}, ticket), Status::kOk);
  ASSERT_TRUE(send_all(server_.get(), header(ticket)));
  expect_broken(ticket, "not under way");
  arena_->deallocate(in, kMuch);
}

TEST_F(TcpHostileServer, LosesTheChannelWithATextThatIsTooLong) {
  const Ticket ticket = submit();
  ReplyHeader reply = header(ticket, Status::kFunctionError);
  reply.error_size = kErrorBytes + 1;
  ASSERT_TRUE(send_all(server_.get(), reply));
  expect_broken(ticket, "malformed");
}

TEST_F(TcpHostileServer, LosesTheChannelWithATextBesideAnOutput) {
  const Ticket ticket = submit();
  ReplyHeader reply = header(ticket);
  reply.error_size = 1;
  ASSERT_TRUE(send_all(server_.get(), reply));
  expect_broken(ticket, "malformed");
}

TEST_F(TcpHostileServer, LosesOnlyTheCallWithAStatusThatNoneEndsWith) {
  for (const auto status : {Status::kAgain, Status::kDeadline, Status{14}, Status{255}}) {
    const Ticket ticket = submit();
    ASSERT_TRUE(send_all(server_.get(), header(ticket, status, 99)));
    const ReplyView reply = collect(ticket);
    EXPECT_EQ(reply.status, Status::kLost);
    EXPECT_EQ(reply.size, 0u);
    EXPECT_NE(reply.error.find("status"), std::string_view::npos);
    EXPECT_TRUE(client_->is_open());
  }
}

TEST_F(TcpHostileServer, IsUnderstoodWhenItsReplyComesByteByByte) {
  for (const std::size_t size :
       {std::size_t{8}, std::size_t{300}, kPaddedAbove, kPaddedAbove + 1}) {
    auto* out = static_cast<std::byte*>(arena_->allocate(size));
    const Ticket ticket = submit(out, size);
    std::vector<std::byte> message(message_size<ReplyHeader>(size), std::byte{0x3c});
    const ReplyHeader head = header(ticket, Status::kOk, size);
    std::memcpy(message.data(), &head, sizeof(head));
    ReplyView reply;
    for (const std::byte byte : message) {
      ASSERT_EQ(client_->poll(ticket, reply), Status::kAgain);
      ASSERT_TRUE(send_all(server_.get(), byte));
    }
    reply = collect(ticket);
    EXPECT_EQ(reply.status, Status::kOk);
    EXPECT_EQ(reply.size, size);
    EXPECT_TRUE(std::all_of(out, out + size, [](std::byte b) { return b == std::byte{0x3c}; }));
    arena_->deallocate(out, size);
  }
}

TEST_F(TcpHostileServer, KeepsTheTextsOfSeveralFailedCallsApart) {
  std::vector<Ticket> tickets;
  for (std::uint32_t i = 0; i < kSlots; ++i) tickets.push_back(submit());
  for (std::uint32_t i = 0; i < kSlots; ++i) {
    const std::string text(std::size_t{100} * i, static_cast<char>('a' + i));
    ReplyHeader reply = header(tickets[i], Status::kFunctionError);
    reply.error_size = static_cast<std::uint16_t>(text.size());
    ASSERT_TRUE(send_all(server_.get(), reply));
    ASSERT_TRUE(send_all(server_.get(), text.data(), text.size()));
  }
  for (std::uint32_t i = kSlots; i-- > 0;) {
    EXPECT_EQ(collect(tickets[i]).error,
              std::string(std::size_t{100} * i, static_cast<char>('a' + i)));
  }
}

TEST_F(TcpHostileServer, ThatEndsInTheMiddleOfAReplyLosesThatCallOnly) {
  auto* out = static_cast<std::byte*>(arena_->allocate(20'000));
  const Ticket first = submit();
  const Ticket second = submit(out, 20'000);
  const Ticket third = submit();
  ASSERT_TRUE(send_all(server_.get(), header(first)));
  ASSERT_TRUE(send_all(server_.get(), header(second, Status::kOk, 20'000)));
  const std::vector<std::byte> part(19'999);
  ASSERT_TRUE(send_all(server_.get(), part.data(), part.size()));
  (void)receive_exactly(server_.get(), 3 * sizeof(RequestHeader));
  server_.reset();
  EXPECT_EQ(collect(second).status, Status::kLost);
  EXPECT_EQ(collect(third).status, Status::kLost);
  EXPECT_EQ(collect(first).status, Status::kOk);
  EXPECT_EQ(client_->in_flight(), 0u);
  arena_->deallocate(out, 20'000);
}

TEST_F(TcpHostileServer, IsNotHeardAfterTheClientClosedExceptForWhatCameBefore) {
  const Ticket first = submit();
  const Ticket second = submit();
  ASSERT_TRUE(send_all(server_.get(), header(first)));
  // Over the loopback interface what was sent has come.
  client_->close();
  EXPECT_EQ(collect(second).status, Status::kClosed);
  EXPECT_EQ(collect(first).status, Status::kOk);
}

TEST_F(TcpHostileServer, MayAnswerJustWhenTheClientAsksAfterItAndFallsAsleep) {
  // The one step of a wait that does both: the reply is received by the asking, and nothing would
  // end the sleep behind it.
  ClientTerms terms;
  terms.wait.spin = std::chrono::nanoseconds(0);
  terms.wait.sleep_slice = 2 * tuning::kPeerCheck;
  std::optional<Ticket> to_answer;
  std::uint64_t slept = 0;
  terms.peer_gone = [&] {
    if (to_answer) {
      EXPECT_TRUE(send_all(server_.get(), header(*to_answer)));
      slept = conformance::times_slept();
      to_answer.reset();
    }
    return false;
  };
  reconnect(terms);
  for (int i = 0; i < 3; ++i) {
    const Ticket ticket = submit();
    to_answer = ticket;
    EXPECT_EQ(collect(ticket).status, Status::kOk);
    EXPECT_FALSE(to_answer) << "the client never asked";
    EXPECT_EQ(conformance::times_slept(), slept) << "it slept with the reply in its hand";
  }
}

TEST_F(TcpHostileServer, GetsNowhereWithNoise) {
  std::mt19937_64 random(9);
  for (int i = 0; i < 300; ++i) {
    reconnect();
    // On the heap and of the exact size, so that an address sanitizer watches its ends too.
    std::vector<std::byte> out(random() % (kInlineBytes + 1));
    const Ticket ticket = submit(out.data(), out.size());
    std::array<std::uint64_t, 32> noise;
    for (auto& word : noise) word = random();
    const ReplyHeader good =
        header(ticket, static_cast<Status>(random() % 16), out.size() + random() % 5 - 2);
    if (i % 2 == 0) std::memcpy(noise.data(), &good, sizeof(good));
    ASSERT_TRUE(send_all(server_.get(), noise.data(), sizeof(noise)));
    ::shutdown(server_.get(), SHUT_WR);
    const ReplyView reply = collect(ticket);
    ASSERT_LE(reply.status, Status::kDenied);
    if (reply.status == Status::kOk) {
      ASSERT_LE(reply.size, out.size());
    }
    const std::string text(reply.error);  // touches all of it
    ASSERT_LE(text.size(), kErrorBytes);
  }
}

}  // namespace
}  // namespace sublet::transport::tcp
