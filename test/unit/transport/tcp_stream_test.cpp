// What does not fit into the sockets: the client never waits in submit, and the two sides never for
// each other.

#include "tcp_pair.hpp"

#include <array>
#include <thread>

namespace sublet::transport::tcp {
namespace {

constexpr std::size_t kLarge = 4u << 20;
constexpr std::uint32_t kSlots = 16;

/// Both ends of a channel; the server's runs echoes in a thread of its own once told to.
class TcpStream : public ::testing::Test {
 protected:
  void connect(std::uint32_t first_sequence = 1) {
    auto [client, server] = connected_sockets();
    ClientTerms terms;
    terms.slots = kSlots;
    terms.first_sequence = first_sequence;
    terms.wait = policy_;
    client_ = std::make_unique<ClientChannel>(Stream(std::move(client)), arena_, terms);
    server_ = std::make_unique<ServerChannel>(std::make_shared<const Stream>(std::move(server)),
                                              ServerTerms{arena_->size(), first_sequence});
  }
  void serve() {
    worker_ = std::thread([this] {
      Invocation invocation;
      while (poll_for(*server_, invocation)) complete_echo(*server_, invocation);
    });
  }
  void TearDown() override {
    client_.reset();
    if (worker_.joinable()) worker_.join();
  }

  void fill_window() {
    for (std::uint32_t i = 0; i < kSlots; ++i) {
      in_[i] = static_cast<std::byte*>(arena_->allocate(kLarge));
      out_[i] = static_cast<std::byte*>(arena_->allocate(kLarge));
      std::memset(in_[i], static_cast<int>(i) + 1, kLarge);
      in_[i][kLarge - 1] = std::byte{0xee};
      ASSERT_EQ(client_->submit({in_[i], kLarge, out_[i], kLarge, 0, false}, tickets_[i]),
                Status::kOk);
    }
  }
  void expect_echo(std::uint32_t i) {
    ReplyView reply;
    ASSERT_EQ(client_->wait(tickets_[i], reply, base::Deadline::after(kTestPatience)), Status::kOk);
    ASSERT_EQ(reply.status, Status::kOk) << reply.error;
    ASSERT_EQ(reply.size, kLarge);
    EXPECT_EQ(std::memcmp(in_[i], out_[i], kLarge), 0) << "call " << i;
  }

  WaitPolicy policy_;
  std::shared_ptr<Arena> arena_ =
      Arena::create(std::size_t{2} * kSlots * kLarge + (1u << 20)).value_or_throw();
  std::unique_ptr<ClientChannel> client_;
  std::unique_ptr<ServerChannel> server_;
  std::thread worker_;
  std::array<std::byte*, kSlots> in_{};
  std::array<std::byte*, kSlots> out_{};
  std::array<Ticket, kSlots> tickets_{};
};

TEST_F(TcpStream, TakesAWindowOfLargeCallsWhileNobodyReads) {
  connect();
  ASSERT_NO_FATAL_FAILURE(fill_window());  // it would hang here
  Ticket beyond;
  EXPECT_EQ(client_->submit({}, beyond), Status::kAgain);
  ReplyView reply;
  EXPECT_EQ(client_->poll(tickets_[0], reply), Status::kAgain);
  serve();
  for (std::uint32_t i = 0; i < kSlots; ++i) ASSERT_NO_FATAL_FAILURE(expect_echo(i));
}

TEST_F(TcpStream, GoesBothWaysAtOnceWithAWindowOfLargeCalls) {
  for (const auto spin : {std::chrono::nanoseconds(0), std::chrono::nanoseconds(kTestPatience)}) {
    policy_.spin = spin;
    policy_.sleep_slice = std::chrono::hours(1);
    connect();
    serve();
    ASSERT_NO_FATAL_FAILURE(fill_window());
    for (std::uint32_t i = kSlots; i-- > 0;) ASSERT_NO_FATAL_FAILURE(expect_echo(i));
    EXPECT_EQ(client_->in_flight(), 0u);
    for (std::uint32_t i = 0; i < kSlots; ++i) {
      arena_->deallocate(in_[i], kLarge);
      arena_->deallocate(out_[i], kLarge);
    }
    TearDown();
  }
}

TEST_F(TcpStream, KeepsSmallCallsBehindALargeOneThatIsStillBeingSent) {
  connect();
  in_[0] = static_cast<std::byte*>(arena_->allocate(16 * kLarge));
  std::memset(in_[0], 7, 16 * kLarge);
  ASSERT_EQ(client_->submit({in_[0], 16 * kLarge, in_[0], 16 * kLarge, 0, false}, tickets_[0]),
            Status::kOk);
  std::array<std::uint64_t, kSlots> small{};
  std::array<std::uint64_t, kSlots> back{};
  for (std::uint32_t i = 1; i < kSlots; ++i) {
    small[i] = std::uint64_t{i} * 1000;
    ASSERT_EQ(client_->submit({&small[i], 8, &back[i], 8, 0, false}, tickets_[i]), Status::kOk);
  }
  serve();
  for (std::uint32_t i = kSlots; i-- > 0;) {
    ReplyView reply;
    ASSERT_EQ(client_->wait(tickets_[i], reply, base::Deadline::after(kTestPatience)), Status::kOk);
    ASSERT_EQ(reply.status, Status::kOk);
    EXPECT_EQ(back[i], small[i]);
  }
}

TEST_F(TcpStream, GoesOnWhenTheNumbersOfItsCallsWrap) {
  connect(0xffff'fff0u);
  serve();
  for (std::uint64_t i = 0; i < 64; ++i) {
    std::uint64_t out = 0;
    Ticket ticket;
    ASSERT_EQ(client_->submit({&i, 8, &out, 8, 0, false}, ticket), Status::kOk);
    ReplyView reply;
    ASSERT_EQ(client_->wait(ticket, reply, base::Deadline::after(kTestPatience)), Status::kOk);
    ASSERT_EQ(reply.status, Status::kOk);
    ASSERT_EQ(out, i);
  }
}

TEST_F(TcpStream, CanBeMovedWithCallsUnderWay) {
  connect();
  ASSERT_NO_FATAL_FAILURE(fill_window());
  auto moved = std::make_unique<ClientChannel>(std::move(*client_));
  client_ = std::move(moved);
  serve();
  for (std::uint32_t i = 0; i < kSlots; ++i) ASSERT_NO_FATAL_FAILURE(expect_echo(i));
}

}  // namespace
}  // namespace sublet::transport::tcp
