#include "support/proved_greeting.hpp"
#include <transport/common/introduction.hpp>
#include <transport/common/lobby.hpp>

#include <gtest/gtest.h>
#include <poll.h>
#include <sys/resource.h>
#include <sys/socket.h>

#include <chrono>
#include <cstring>
#include <memory>
#include <string>
#include <thread>
#include <vector>

namespace sublet::transport {
namespace {

constexpr auto kPatience = std::chrono::seconds(20);
constexpr std::uint32_t kMagic = 0x1234'5678;
constexpr std::uint32_t kVersion = 1;
constexpr Token kToken{1, 2, 3};

TimePoint patience() {
  return std::chrono::steady_clock::now() + kPatience;
}

/// A lobby behind a TCP socket, served by this thread when it says so.
class LobbyTest : public ::testing::Test {
 protected:
  LobbyTest() {
    auto socket = listen_on("127.0.0.1").value_or_throw();
    address_ = address_of(socket.get()).value_or_throw();
    ListenOptions options;
    options.token = kToken;
    options.workers = 1u << 20;
    options.max_arena_bytes = 1;
    lobby_ = std::make_unique<Lobby>(std::move(socket),
                                     Lobby::HelloForm{kMagic, kVersion, sizeof(Greeting)}, options,
                                     std::chrono::minutes(10));
  }

  void serve() {
    lobby_->service([](std::uint32_t) { return true; },
                    [this](Lobby::Guest guest) { admitted_.push_back(guest.greeting.worker); });
  }
  base::Fd silent_connection() { return connect_to(address_, patience()).value_or_throw(); }
  static void greet(const base::Fd& socket, std::uint32_t worker) {
    const auto greeting = proved(Greeting{kMagic, kVersion, 0, {}, worker, 16, 1}, kToken);
    ASSERT_TRUE(send_all(socket.get(), bytes_of(greeting), patience()));
  }
  std::size_t pending() const {
    std::vector<pollfd> fds;
    lobby_->append_poll_fds(fds);
    return fds.size() - 1;
  }
  /// Makes so many connections that stay silent, serving meanwhile.
  std::vector<base::Fd> flood(std::size_t count) {
    std::vector<base::Fd> sockets;
    while (sockets.size() < count) {
      sockets.push_back(silent_connection());
      if (sockets.size() % 16 == 0) serve();
    }
    serve();
    return sockets;
  }
  static Answer answer(const base::Fd& socket) {
    Answer answer{};
    EXPECT_EQ(receive_all(socket.get(), writable_bytes_of(answer), patience()), sizeof(answer));
    return answer;
  }

  HostPort address_;
  std::unique_ptr<Lobby> lobby_;
  std::vector<std::uint32_t> admitted_;  ///< The workers that were asked for.
};

/// Allows this process so many descriptors more than it has, as long as it lives.
class DescriptorLimit {
 public:
  explicit DescriptorLimit(std::size_t more) {
    ::getrlimit(RLIMIT_NOFILE, &before_);
    const base::Fd next(::dup(0));
    rlimit limit = before_;
    limit.rlim_cur = static_cast<rlim_t>(next.get()) + more;
    possible_ = ::setrlimit(RLIMIT_NOFILE, &limit) == 0;
  }
  DescriptorLimit(const DescriptorLimit&) = delete;
  DescriptorLimit& operator=(const DescriptorLimit&) = delete;
  ~DescriptorLimit() { ::setrlimit(RLIMIT_NOFILE, &before_); }
  [[nodiscard]] bool possible() const { return possible_; }

 private:
  rlimit before_{};
  bool possible_ = false;
};

TEST_F(LobbyTest, AdmitsAnHonestClientInTheMidstOfAFlood) {
  const DescriptorLimit limit(4096);
  if (!limit.possible()) GTEST_SKIP() << "this user may not have 4096 descriptors";
  const auto before = flood(1500);
  const base::Fd honest = silent_connection();
  greet(honest, 7);
  const auto after = flood(100);
  // Whatever its place among them: nobody had to be waited for.
  EXPECT_EQ(admitted_, std::vector<std::uint32_t>{7});
  EXPECT_EQ(pending(), kMaxPending);
}

TEST_F(LobbyTest, TellsTheOldestToConnectAgainWhenThereAreTooMany) {
  const DescriptorLimit limit(4 * kMaxPending);
  if (!limit.possible()) GTEST_SKIP() << "this user may not have enough descriptors";
  const auto silent = flood(kMaxPending + 1);
  EXPECT_EQ(pending(), kMaxPending);
  EXPECT_EQ(answer(silent[0]).status, static_cast<std::uint8_t>(Status::kAgain));
  greet(silent[1], 1);
  serve();
  EXPECT_EQ(admitted_, std::vector<std::uint32_t>{1});
}

TEST_F(LobbyTest, LooksOnceMoreAtTheOldestBeforeItGoes) {
  const DescriptorLimit limit(4 * kMaxPending);
  if (!limit.possible()) GTEST_SKIP() << "this user may not have enough descriptors";
  const auto silent = flood(kMaxPending);
  ASSERT_EQ(pending(), kMaxPending);
  greet(silent[0], 1);
  const auto one_more = silent_connection();
  serve();
  EXPECT_EQ(admitted_, std::vector<std::uint32_t>{1});
  EXPECT_EQ(pending(), kMaxPending);
}

TEST_F(LobbyTest, GivesUpSilentConnectionsWhenDescriptorsRunOut) {
  std::vector<base::Fd> silent;
  silent.reserve(10);
  for (int i = 0; i < 10; ++i) silent.push_back(silent_connection());
  const base::Fd honest = silent_connection();
  greet(honest, 7);
  {
    const DescriptorLimit limit(4);
    serve();
  }
  EXPECT_EQ(admitted_, std::vector<std::uint32_t>{7});
  EXPECT_EQ(answer(silent[0]).status, static_cast<std::uint8_t>(Status::kAgain));
}

TEST_F(LobbyTest, TurnsToOtherWorkAfterSoManyConnections) {
  std::vector<base::Fd> silent;
  for (std::size_t i = 0; i < kAcceptsPerTurn + 1; ++i) silent.push_back(silent_connection());
  serve();
  EXPECT_EQ(pending(), kAcceptsPerTurn);
  serve();
  EXPECT_EQ(pending(), kAcceptsPerTurn + 1);
}

TEST(Introduction, ConnectsAgainWhenItIsToldTo) {
  const base::Fd listening = listen_on("127.0.0.1").value_or_throw();
  std::thread executor([&] {
    for (const Status status : {Status::kAgain, Status::kAgain, Status::kOk}) {
      await_socket(listening.get(), POLLIN, kPatience);
      const base::Fd socket(::accept4(listening.get(), nullptr, nullptr, SOCK_CLOEXEC));
      Greeting greeting{};
      (void)receive_all(socket.get(), writable_bytes_of(greeting), patience());
      Answer answer = Answer::of(status, "too many");
      answer.proof = executor_proof({}, 0, greeting);
      (void)send_all(socket.get(), bytes_of(answer), patience());
    }
  });
  ConnectOptions options;
  options.address = address_of(listening.get()).value_or_throw().to_string();
  const Greeting greeting = greeting_for(kMagic, kVersion, options, 0);
  Answer welcome{};
  const auto socket =
      introduce(options, bytes_of(greeting), writable_bytes_of(welcome), patience());
  executor.join();
  ASSERT_TRUE(socket) << socket.error().what();
  EXPECT_EQ(welcome.status, 0);
}

TEST(Introduction, GivesUpWhenItIsTurnedAwayUntilItsTimeIsOver) {
  const base::Fd listening = listen_on("127.0.0.1").value_or_throw();
  std::jthread executor([&](const std::stop_token& stop) {
    while (!stop.stop_requested()) {
      await_socket(listening.get(), POLLIN, std::chrono::milliseconds(10));
      const base::Fd socket(::accept4(listening.get(), nullptr, nullptr, SOCK_CLOEXEC));
      if (!socket.valid()) continue;
      Greeting greeting{};
      (void)receive_all(socket.get(), writable_bytes_of(greeting), patience());
      (void)send_all(socket.get(), bytes_of(Answer::of(Status::kAgain, "too many")), patience());
    }
  });
  ConnectOptions options;
  options.address = address_of(listening.get()).value_or_throw().to_string();
  const Greeting greeting = greeting_for(kMagic, kVersion, options, 0);
  Answer welcome{};
  const auto end = std::chrono::steady_clock::now() + std::chrono::milliseconds(50);
  const auto socket = introduce(options, bytes_of(greeting), writable_bytes_of(welcome), end);
  ASSERT_FALSE(socket);
  // Or it was on its way to one more try.
  EXPECT_TRUE(socket.error().kind() == ErrorKind::kOverloaded ||
              socket.error().kind() == ErrorKind::kDisconnected)
      << socket.error().what();
}

}  // namespace
}  // namespace sublet::transport
