#include "process.hpp"
#include "support/proved_greeting.hpp"
#include "tcp_pair.hpp"
#include <transport/tcp/tcp_transport.hpp>

#include <netinet/in.h>

#include <atomic>
#include <functional>
#include <future>
#include <optional>
#include <thread>

namespace sublet::transport::tcp {
namespace {

using namespace std::chrono_literals;

constexpr Token kToken{1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15, 16};

/// A listener served by a thread of its own; channels it made are kept.
class TcpSetup : public ::testing::Test {
 protected:
  void listen(const std::string& host) {
    ListenOptions options;
    options.token = kToken;
    options.workers = 2;
    options.max_slots = 64;
    options.max_arena_bytes = 64u << 20;
    listener_ = Listener::open(options, host).value_or_throw();
  }
  void serve() {
    server_ = std::thread([this] {
      while (!stop_) {
        std::vector<pollfd> fds;
        listener_->append_poll_fds(fds);
        ::poll(fds.data(), fds.size(), 5);
        most_fds_ = std::max(most_fds_.load(), fds.size());
        listener_->service([this](std::uint32_t worker) { return channels_[worker] == nullptr; },
                           [this](std::uint32_t worker, std::unique_ptr<ServerChannel> channel) {
                             channels_[worker] = std::move(channel);
                             ++accepted_;
                           },
                           [this](std::uint32_t worker) {
                             channels_[worker].reset();
                             ++ended_;
                           });
      }
    });
  }
  void TearDown() override {
    stop_ = true;
    if (server_.joinable()) server_.join();
  }

  ConnectOptions options(const std::string& address) {
    ConnectOptions connecting;
    connecting.address = address;
    connecting.token = kToken;
    connecting.timeout = kTestPatience;
    return connecting;
  }
  base::Fd raw_connection() {
    const auto address = HostPort::parse(listener_->address()).value_or_throw();
    return connect_to(address, std::chrono::steady_clock::now() + kTestPatience).value_or_throw();
  }
  static Hello hello() {
    Hello greeting{};
    greeting.magic = kMagic;
    greeting.version = kVersion;
    greeting.slots = 16;
    greeting.arena_size = 1u << 20;
    return proved(greeting, kToken);
  }
  static std::optional<Answer> answer(int socket) {
    const auto bytes = receive_exactly(socket, sizeof(Answer));
    if (bytes.size() != sizeof(Answer)) return std::nullopt;
    Answer welcome;
    std::memcpy(&welcome, bytes.data(), sizeof(welcome));
    EXPECT_EQ(welcome.magic, kAnswerMagic);
    return welcome;
  }

  std::shared_ptr<Arena> arena_ = Arena::create(1u << 20).value_or_throw();
  std::unique_ptr<Listener> listener_;
  std::array<std::unique_ptr<ServerChannel>, 2> channels_;
  std::atomic<std::size_t> most_fds_{0};
  std::atomic<int> accepted_{0};
  std::atomic<int> ended_{0};
  std::atomic<bool> stop_{false};
  std::thread server_;
};

TEST_F(TcpSetup, ListensAtAllAddressesWhenToldNone) {
  listen("");
  serve();
  const std::string address = listener_->address();
  ASSERT_EQ(address.substr(0, 2), "*:");
  const std::string port = address.substr(1);
  {
    const auto client = Transport::connect(options("127.0.0.1" + port), arena_);
    EXPECT_TRUE(client) << client.error().what();
  }
  ASSERT_TRUE(conformance::await([&] { return ended_ == 1; }));
  {
    const auto client = Transport::connect(options("localhost" + port), arena_);
    EXPECT_TRUE(client) << client.error().what();
  }
  ASSERT_TRUE(conformance::await([&] { return ended_ == 2; }));
  const base::Fd six(::socket(AF_INET6, SOCK_STREAM | SOCK_CLOEXEC, 0));
  sockaddr_in6 own{};
  own.sin6_family = AF_INET6;
  own.sin6_addr = in6addr_loopback;
  if (!six.valid() || ::bind(six.get(), reinterpret_cast<sockaddr*>(&own), sizeof(own)) != 0) {
    GTEST_SKIP() << "this machine has no IPv6";
  }
  const auto client = Transport::connect(options("[::1]" + port), arena_);
  EXPECT_TRUE(client) << client.error().what();
}

TEST_F(TcpSetup, SaysWhichNameItCannotListenAt) {
  const auto listener = Listener::open({}, "203.0.113.1");  // for documentation: nobody has it
  ASSERT_FALSE(listener);
  EXPECT_EQ(listener.error().kind(), ErrorKind::kInvalid);
  EXPECT_NE(std::string(listener.error().what()).find("203.0.113.1"), std::string::npos);
}

TEST_F(TcpSetup, TakesAGreetingInPieces) {
  listen("127.0.0.1");
  serve();
  const base::Fd socket = raw_connection();
  const Hello greeting = hello();
  for (std::size_t i = 0; i < sizeof(greeting); ++i) {
    ASSERT_TRUE(send_all(socket.get(), reinterpret_cast<const char*>(&greeting) + i, 1));
  }
  const auto welcome = answer(socket.get());
  ASSERT_TRUE(welcome);
  EXPECT_EQ(welcome->status, 0) << welcome->text.data();
}

TEST_F(TcpSetup, LeavesWhatComesBehindTheGreetingToTheWorker) {
  listen("127.0.0.1");
  const base::Fd socket = raw_connection();
  ASSERT_TRUE(send_all(socket.get(), hello()));
  ASSERT_TRUE(send_all(socket.get(), RequestHeader{1, 5, 0, 0, 0}));
  serve();
  ASSERT_TRUE(answer(socket.get()));
  ASSERT_TRUE(conformance::await([&] { return accepted_ == 1; }));
  TearDown();  // the channel is this thread's from now on
  Invocation invocation;
  ASSERT_TRUE(poll_for(*channels_[0], invocation));
  EXPECT_EQ(invocation.function, 5);
}

TEST_F(TcpSetup, RefusesWhatIsNoGreeting) {
  listen("127.0.0.1");
  serve();
  const base::Fd socket = raw_connection();
  const std::string text = "GET / HTTP/1.1\r\nHost: somebody-else.invalid\r\n\r\n";
  ASSERT_GE(text.size(), sizeof(Hello));
  ASSERT_TRUE(send_all(socket.get(), text.data(), sizeof(Hello)));
  const auto welcome = answer(socket.get());
  ASSERT_TRUE(welcome);
  EXPECT_EQ(welcome->status, static_cast<std::uint8_t>(Status::kInvalid));
  EXPECT_EQ(accepted_, 0);
}

TEST_F(TcpSetup, RefusesAnotherVersion) {
  listen("127.0.0.1");
  serve();
  const base::Fd socket = raw_connection();
  Hello greeting = hello();
  greeting.version = kVersion + 1;
  ASSERT_TRUE(send_all(socket.get(), greeting));
  const auto welcome = answer(socket.get());
  ASSERT_TRUE(welcome);
  EXPECT_NE(welcome->status, 0);
  EXPECT_NE(std::string(welcome->text.data()).find("version"), std::string::npos);
}

TEST_F(TcpSetup, RefusesWhoSaysNothingForTooLong) {
  listen("127.0.0.1");
  serve();
  const base::Fd socket = raw_connection();
  const auto welcome = answer(socket.get());
  ASSERT_TRUE(welcome);
  EXPECT_EQ(welcome->status, static_cast<std::uint8_t>(Status::kDenied));
}

TEST_F(TcpSetup, HoldsNoMoreSilentConnectionsThanItMay) {
  listen("127.0.0.1");
  serve();
  std::vector<base::Fd> silent;
  for (std::size_t i = 0; i < 3 * kMaxPending; ++i) silent.push_back(raw_connection());
  const auto client =
      Transport::connect(options(listener_->address()), arena_);  // after their time
  EXPECT_TRUE(client) << client.error().what();
  EXPECT_LE(most_fds_, kMaxPending + 2);
}

TEST_F(TcpSetup, DoesNotTakeAnotherProgramForAnExecutor) {
  const base::Fd listening = listen_on("127.0.0.1").value_or_throw();
  const std::string address = address_of(listening.get()).value_or_throw().to_string();
  for (const bool talks : {true, false}) {
    std::thread other([&] {
      await_socket(listening.get(), POLLIN, kTestPatience);
      const base::Fd socket(::accept4(listening.get(), nullptr, nullptr, SOCK_CLOEXEC));
      (void)receive_exactly(socket.get(), sizeof(Hello));
      if (talks) send_all(socket.get(), "SSH-2.0-somebody", 16);
    });
    const auto client = Transport::connect(options(address), arena_);
    other.join();
    ASSERT_FALSE(client);
    EXPECT_EQ(client.error().kind(), talks ? ErrorKind::kInvalid : ErrorKind::kDisconnected)
        << client.error().what();
  }
}

TEST_F(TcpSetup, TellsAnEndBeforeItGivesTheWorkerToTheNext) {
  listen("127.0.0.1");
  serve();
  for (int i = 0; i < 50; ++i) {
    auto client = Transport::connect(options(listener_->address()), arena_);
    ASSERT_TRUE(client) << client.error().what();
    client->close();
    ASSERT_TRUE(conformance::await([&] { return ended_ == i + 1; }));
  }
  EXPECT_EQ(accepted_, 50);
}

}  // namespace
}  // namespace sublet::transport::tcp
