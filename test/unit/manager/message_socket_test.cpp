#include <base/unix_socket.hpp>
#include <executor_manager/message_socket.hpp>

#include <fcntl.h>
#include <gtest/gtest.h>
#include <kj/async-io.h>

#include <chrono>
#include <cstdint>
#include <memory>
#include <utility>
#include <vector>

namespace sublet::manager {
namespace {

class MessageSocketTest : public testing::Test {
 protected:
  MessageSocketTest() {
    auto pair = base::make_socketpair().value_or_throw();
    socket_ = std::make_unique<MessageSocket>(io_.unixEventPort, std::move(pair.first));
    peer_ = std::move(pair.second);
    ::fcntl(peer_.get(), F_SETFL, O_NONBLOCK);
  }
  ~MessageSocketTest() noexcept override = default;

  /// What the peer has, in turns with the loop, until `count` messages are there.
  std::vector<std::uint64_t> receive(std::size_t count) {
    std::vector<std::uint64_t> requests;
    const auto end = std::chrono::steady_clock::now() + std::chrono::seconds(20);
    while (requests.size() < count && std::chrono::steady_clock::now() < end) {
      auto message = wire::receive_message(peer_.get());
      if (!message) {
        if (message.error().kind() != ErrorKind::kOverloaded) break;
        io_.waitScope.poll();
        continue;
      }
      requests.push_back(message->as<wire::Spawn>()->request);
      EXPECT_EQ(message->fds.size(), 1u);
    }
    return requests;
  }

  Result<void> send(std::uint64_t request) {
    wire::Spawn order{};
    order.request = request;
    const base::Fd fd(::open("/dev/null", O_RDONLY | O_CLOEXEC));
    const int number = fd.get();
    return socket_->send(wire::MessageType::kSpawn, order, {&number, 1});
  }

  kj::AsyncIoContext io_ = kj::setupAsyncIo();
  std::unique_ptr<MessageSocket> socket_;
  base::Fd peer_;
};

TEST_F(MessageSocketTest, KeepsABurstInOrderUntilThePeerReads) {
  constexpr std::uint64_t kBurst = 300;
  for (std::uint64_t i = 0; i < kBurst; ++i) {
    const auto sent = send(i);
    ASSERT_TRUE(sent) << "message " << i << ": " << sent.error().what();
  }
  const auto requests = receive(kBurst);
  ASSERT_EQ(requests.size(), kBurst);
  for (std::uint64_t i = 0; i < kBurst; ++i) EXPECT_EQ(requests[i], i);
  // And is as it was before.
  ASSERT_TRUE(send(7));
  EXPECT_EQ(receive(1), std::vector<std::uint64_t>{7});
}

TEST_F(MessageSocketTest, EndsWithAPeerThatGoesWhileSomethingWaits) {
  Result<void> sent;
  for (int i = 0; i < 100; ++i) ASSERT_TRUE(sent = send(0));
  peer_.reset();
  io_.waitScope.poll();
  EXPECT_FALSE(send(0));
}

TEST_F(MessageSocketTest, RefusesMoreThanAPeerMayLeaveUnread) {
  Result<void> sent;
  for (int i = 0; i < 10'000 && sent; ++i) {
    sent = socket_->send(wire::MessageType::kSpawn, wire::Spawn{});
  }
  ASSERT_FALSE(sent);
  EXPECT_EQ(sent.error().kind(), ErrorKind::kOverloaded);
}

}  // namespace
}  // namespace sublet::manager
