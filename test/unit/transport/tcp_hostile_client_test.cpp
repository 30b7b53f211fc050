// A client that sends nonsense, sends in pieces, does not read, or goes away. It may lose its
// channel; the worker never reads or writes where it should not, and never hangs.

#include "process.hpp"
#include "tcp_pair.hpp"

#include <unistd.h>

#include <algorithm>
#include <array>
#include <atomic>
#include <functional>
#include <limits>
#include <random>
#include <thread>

namespace sublet::transport::tcp {
namespace {

constexpr std::uint64_t kArena = 1u << 20;

class TcpHostileClient : public ::testing::Test {
 protected:
  TcpHostileClient() : TcpHostileClient(connected_sockets()) {}

  explicit TcpHostileClient(std::pair<base::Fd, base::Fd> sockets)
      : client_(std::move(sockets.first)),
        stream_(std::make_shared<const Stream>(std::move(sockets.second))),
        server_(stream_, {kArena, 1}) {}

  RequestHeader header(std::uint64_t in_size = 0, std::uint64_t out_capacity = 0) {
    return {++last_, 7, 0, in_size, out_capacity};
  }

  /// A request with `size` bytes that depend on its number.
  std::vector<std::byte> request(std::uint64_t size, std::uint64_t out_capacity = 0) {
    const RequestHeader head = header(size, out_capacity);
    const std::size_t span = header_span<RequestHeader>(size);
    std::vector<std::byte> message(span + size);
    std::memcpy(message.data(), &head, sizeof(head));
    for (std::size_t i = 0; i < size; ++i) message[span + i] = byte_at(head.sequence, i);
    return message;
  }
  static std::byte byte_at(std::uint32_t sequence, std::size_t place) {
    return static_cast<std::byte>(std::size_t{sequence} * 31 + place * 7 + place / 256);
  }
  static void expect_content(const Invocation& invocation) {
    const auto* in = static_cast<const std::byte*>(invocation.in);
    for (std::size_t i = 0; i < invocation.in_size; ++i) {
      ASSERT_EQ(in[i], byte_at(invocation.sequence, i)) << "byte " << i;
    }
  }

  void expect_ended() {
    Invocation invocation;
    EXPECT_FALSE(poll_for(server_, invocation));
    EXPECT_FALSE(server_.is_open());
    // The client hears of it.
    std::byte byte{};
    await_socket(client_.get(), POLLIN, kTestPatience);
    std::size_t came = 0;
    EXPECT_EQ(receive_some(client_.get(), &byte, 1, came), Status::kLost);
  }
  void expect_serving() {
    const auto message = request(8, 8);
    ASSERT_TRUE(send_all(client_.get(), message.data(), message.size()));
    Invocation invocation;
    ASSERT_TRUE(poll_for(server_, invocation));
    EXPECT_EQ(invocation.verdict, Status::kOk);
    expect_content(invocation);
  }

  void fill_the_way_to_the_client() {
    const std::vector<std::byte> much(1u << 20);
    while (::send(stream_->fd(), much.data(), much.size(), MSG_NOSIGNAL | MSG_DONTWAIT) > 0) {
    }
  }

  /// The worker waits in a reply that its client does not take, until `end` is done.
  void expect_left_when(const std::function<void()>& end) {
    const auto message = request(8, 8);
    ASSERT_TRUE(send_all(client_.get(), message.data(), message.size()));
    Invocation invocation;
    ASSERT_TRUE(poll_for(server_, invocation));
    fill_the_way_to_the_client();
    std::atomic<pid_t> thread{0};
    std::thread worker([&] {
      thread = ::gettid();
      complete_echo(server_, invocation);
      EXPECT_FALSE(server_.poll(invocation));
      EXPECT_FALSE(server_.is_open());
    });
    EXPECT_TRUE(conformance::await(
        [&] { return thread != 0 && conformance::is_blocked(::getpid(), thread); }));
    EXPECT_TRUE(server_.is_open());
    end();
    worker.join();
  }

  base::Fd client_;
  std::shared_ptr<const Stream> stream_;
  ServerChannel server_;
  std::uint32_t last_ = 0;
};

TEST_F(TcpHostileClient, IsServedWhenItsRequestComesByteByByte) {
  for (const std::uint64_t size :
       {std::uint64_t{0}, std::uint64_t{1}, std::uint64_t{100}, kPaddedAbove, kPaddedAbove + 1}) {
    const auto message = request(size, size);
    Invocation invocation;
    for (std::size_t i = 0; i < message.size(); ++i) {
      ASSERT_FALSE(server_.poll(invocation)) << "after " << i << " of " << message.size();
      ASSERT_TRUE(send_all(client_.get(), &message[i], 1));
      if (i + 1 < message.size()) server_.sleep(kTestPatience);
    }
    ASSERT_TRUE(poll_for(server_, invocation));
    EXPECT_EQ(invocation.in_size, size);
    EXPECT_EQ(invocation.function, 7);
    expect_content(invocation);
    complete_echo(server_, invocation);
    const std::size_t expected = message_size<ReplyHeader>(size);
    ASSERT_EQ(receive_exactly(client_.get(), expected).size(), expected);
  }
}

TEST_F(TcpHostileClient, IsServedWhenManyRequestsComeTogetherOfAnySize) {
  std::mt19937_64 random(3);
  for (int round = 0; round < 200; ++round) {
    std::vector<std::byte> stream;
    const std::uint32_t first = last_ + 1;
    const std::size_t count = 1 + random() % 30;
    for (std::size_t i = 0; i < count; ++i) {
      const auto message = request(random() % (std::uint64_t{1} << (random() % 15)));
      stream.insert(stream.end(), message.begin(), message.end());
    }
    std::thread sender([&] { EXPECT_TRUE(send_all(client_.get(), stream.data(), stream.size())); });
    for (std::uint32_t sequence = first; sequence <= last_; ++sequence) {
      Invocation invocation;
      if (!poll_for(server_, invocation)) {
        ADD_FAILURE() << "no request";
        break;
      }
      EXPECT_EQ(invocation.sequence, sequence);
      const std::uintptr_t boundary =
          invocation.in_size <= kInlineBytes ? sizeof(std::uint64_t) : Arena::kGranule;
      if (invocation.in_size != 0) {
        EXPECT_EQ(reinterpret_cast<std::uintptr_t>(invocation.in) % boundary, 0u)
            << "a function that counts on its input's alignment would fail";
      }
      expect_content(invocation);
    }
    sender.join();
    if (HasFailure()) break;
  }
}

TEST_F(TcpHostileClient, LosesItsChannelForAnInputLargerThanItsArena) {
  ASSERT_TRUE(send_all(client_.get(), header(kArena + 1)));
  expect_ended();
}

TEST_F(TcpHostileClient, LosesItsChannelForAnInputOfTheLargestNumber) {
  ASSERT_TRUE(send_all(client_.get(), header(std::numeric_limits<std::uint64_t>::max())));
  expect_ended();
}

TEST_F(TcpHostileClient, LosesItsChannelForAnotherNumberThanTheNext) {
  last_ = 1;
  ASSERT_TRUE(send_all(client_.get(), header()));
  expect_ended();
}

TEST_F(TcpHostileClient, IsRefusedAnOutputLargerThanItsArena) {
  for (const std::uint64_t capacity : {kArena + 1, std::numeric_limits<std::uint64_t>::max()}) {
    const auto message = request(100, capacity);
    ASSERT_TRUE(send_all(client_.get(), message.data(), message.size()));
    Invocation invocation;
    ASSERT_TRUE(poll_for(server_, invocation));
    EXPECT_EQ(invocation.verdict, Status::kInvalid);
    EXPECT_EQ(invocation.in, nullptr);
    EXPECT_EQ(invocation.out, nullptr);
    EXPECT_EQ(invocation.out_capacity, capacity);
    EXPECT_FALSE(invocation.out_is_inline);
    complete_echo(server_, invocation);
    expect_serving();
  }
}

TEST_F(TcpHostileClient, IsRefusedFlagsThatNobodyKnows) {
  RequestHeader strange = header();
  strange.flags = 0x8000;
  ASSERT_TRUE(send_all(client_.get(), strange));
  Invocation invocation;
  ASSERT_TRUE(poll_for(server_, invocation));
  EXPECT_EQ(invocation.verdict, Status::kInvalid);
  expect_serving();
}

TEST_F(TcpHostileClient, MayUseAllOfItsArena) {
  const auto message = request(kArena, kArena);
  std::thread sender([&] { EXPECT_TRUE(send_all(client_.get(), message.data(), message.size())); });
  Invocation invocation;
  EXPECT_TRUE(poll_for(server_, invocation));
  sender.join();
  ASSERT_EQ(invocation.verdict, Status::kOk);
  expect_content(invocation);
  std::memset(invocation.out, 1, invocation.out_capacity);
}

TEST_F(TcpHostileClient, IsGoneWhenItClosesInTheMiddleOfARequest) {
  const auto message = request(1000);
  ASSERT_TRUE(send_all(client_.get(), message.data(), message.size() - 1));
  ASSERT_EQ(::shutdown(client_.get(), SHUT_WR), 0);
  Invocation invocation;
  EXPECT_FALSE(poll_for(server_, invocation));
  EXPECT_FALSE(server_.is_open());
}

TEST_F(TcpHostileClient, GetsNowhereWithNoise) {
  std::mt19937_64 random(5);
  for (int i = 0; i < 300; ++i) {
    auto [client, end] = connected_sockets();
    ServerChannel server(std::make_shared<const Stream>(std::move(end)), {kArena, 1});
    std::array<std::uint64_t, 64> noise;
    for (auto& word : noise) word = random();
    // Sometimes the start looks right.
    const RequestHeader good{1, 1, 0, random() % 100, random() % 200};
    if (i % 2 == 0) std::memcpy(noise.data(), &good, sizeof(good));
    ASSERT_TRUE(send_all(client.get(), noise.data(), sizeof(noise)));
    ASSERT_EQ(::shutdown(client.get(), SHUT_WR), 0);
    Invocation invocation;
    while (poll_for(server, invocation)) complete_echo(server, invocation);
    ASSERT_FALSE(server.is_open());
  }
}

TEST_F(TcpHostileClient, ThatDoesNotReadIsLeftWhenTheWorkerIsInterrupted) {
  expect_left_when([this] { server_.interrupt(); });
}

TEST_F(TcpHostileClient, ThatDiesWithoutReadingIsNotWaitedFor) {
  expect_left_when([this] {
    end_abruptly(client_.get());
    client_.reset();
  });
}

TEST_F(TcpHostileClient, HearsTheLastWordsOfADyingWorker) {
  const auto message = request(4, 8);
  ASSERT_TRUE(send_all(client_.get(), message.data(), message.size()));
  Invocation invocation;
  ASSERT_TRUE(poll_for(server_, invocation));
  const std::string words(2 * kErrorBytes, 'x');
  server_.complete_dying(invocation.sequence, Status::kCrashed, words);
  const auto reply = receive_exactly(client_.get(), sizeof(ReplyHeader) + kErrorBytes);
  ASSERT_EQ(reply.size(), sizeof(ReplyHeader) + kErrorBytes);
  ReplyHeader header;
  std::memcpy(&header, reply.data(), sizeof(header));
  EXPECT_EQ(header.sequence, invocation.sequence);
  EXPECT_EQ(header.status, static_cast<std::uint8_t>(Status::kCrashed));
  EXPECT_EQ(header.error_size, kErrorBytes);
  EXPECT_TRUE(std::all_of(reply.begin() + sizeof(header), reply.end(),
                          [](std::byte b) { return b == std::byte{'x'}; }));
}

TEST_F(TcpHostileClient, DoesNotHoldUpADyingWorkerByNotReading) {
  fill_the_way_to_the_client();
  // Returns, although the client never makes room.
  server_.complete_dying(1, Status::kCrashed, "nobody hears this");
}

TEST_F(TcpHostileClient, FindsTheWorkerAwakeWhenItsRequestsCameTogether) {
  auto stream = request(8);
  const auto second = request(8);
  stream.insert(stream.end(), second.begin(), second.end());
  ASSERT_TRUE(send_all(client_.get(), stream.data(), stream.size()));
  Invocation invocation;
  ASSERT_TRUE(poll_for(server_, invocation));
  const std::uint64_t slept = conformance::times_slept();
  server_.sleep(kTestPatience);  // the second one is not in the socket any more
  EXPECT_EQ(conformance::times_slept(), slept) << "it slept with the request in its hand";
  ASSERT_TRUE(server_.poll(invocation));
  EXPECT_EQ(invocation.sequence, 2u);
}

}  // namespace
}  // namespace sublet::transport::tcp
