#include <base/unix_socket.hpp>

#include <fcntl.h>
#include <gtest/gtest.h>
#include <sys/eventfd.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include <array>
#include <atomic>
#include <csignal>
#include <cstring>
#include <thread>

namespace sublet::base {
namespace {

using namespace std::chrono_literals;

std::string unique_name() {
  static std::atomic<int> counter{0};
  return "sublet-unit-" + std::to_string(::getpid()) + "-" + std::to_string(++counter);
}

std::span<const std::byte> bytes(const std::string& text) {
  return std::as_bytes(std::span(text));
}

struct Pair {
  Fd a;
  Fd b;
};

Pair make_pair() {
  auto pair = make_socketpair();
  EXPECT_TRUE(pair);
  return {std::move(pair->first), std::move(pair->second)};
}

TEST(UnixSocket, KeepsMessageBoundaries) {
  const Pair pair = make_pair();
  ASSERT_TRUE(send_packet(pair.a.get(), bytes("first")));
  ASSERT_TRUE(send_packet(pair.a.get(), bytes("and second")));
  std::array<char, 64> buffer{};
  auto packet = receive_packet(pair.b.get(), std::as_writable_bytes(std::span(buffer)));
  ASSERT_TRUE(packet) << packet.error().what();
  EXPECT_EQ(std::string_view(buffer.data(), packet->size), "first");
  packet = receive_packet(pair.b.get(), std::as_writable_bytes(std::span(buffer)));
  ASSERT_TRUE(packet) << packet.error().what();
  EXPECT_EQ(std::string_view(buffer.data(), packet->size), "and second");
}

TEST(UnixSocket, PassesDescriptorsThatAreCloseOnExec) {
  const Pair pair = make_pair();
  std::array<Fd, kMaxFdsPerPacket> sent;
  std::array<int, kMaxFdsPerPacket> numbers{};
  for (std::size_t i = 0; i < sent.size(); ++i) {
    sent[i] = Fd(::eventfd(static_cast<unsigned>(i) + 1, 0));
    numbers[i] = sent[i].get();
  }
  ASSERT_TRUE(send_packet(pair.a.get(), bytes("x"), numbers));
  std::byte byte{};
  auto packet = receive_packet(pair.b.get(), {&byte, 1});
  ASSERT_TRUE(packet) << packet.error().what();
  ASSERT_EQ(packet->fds.size(), kMaxFdsPerPacket);
  for (std::size_t i = 0; i < sent.size(); ++i) {
    eventfd_t value = 0;
    EXPECT_EQ(::eventfd_read(packet->fds[i].get(), &value), 0);
    EXPECT_EQ(value, i + 1) << "another descriptor arrived in this place";
    EXPECT_NE(::fcntl(packet->fds[i].get(), F_GETFD) & FD_CLOEXEC, 0);
  }
}

TEST(UnixSocket, RefusesToSendMoreDescriptorsThanAPacketCarries) {
  const Pair pair = make_pair();
  const std::array<int, kMaxFdsPerPacket + 1> numbers{};
  const auto sent = send_packet(pair.a.get(), bytes("x"), numbers);
  ASSERT_FALSE(sent);
  EXPECT_EQ(sent.error().kind(), ErrorKind::kInvalid);
}

TEST(UnixSocket, RefusesAPacketThatDoesNotFitAndClosesItsDescriptors) {
  const Pair pair = make_pair();
  const Fd event(::eventfd(0, EFD_CLOEXEC));
  const int number = event.get();
  ASSERT_TRUE(send_packet(pair.a.get(), bytes("longer than four"), {&number, 1}));
  const Fd next_free_before(::dup(event.get()));
  std::array<std::byte, 4> buffer{};
  auto packet = receive_packet(pair.b.get(), buffer);
  ASSERT_FALSE(packet);
  EXPECT_EQ(packet.error().kind(), ErrorKind::kInvalid);
  const Fd next_free_after(::dup(event.get()));
  EXPECT_EQ(next_free_after.get(), next_free_before.get() + 1) << "a descriptor was leaked";
}

TEST(UnixSocket, ReportsTheEndOfThePeer) {
  Pair pair = make_pair();
  EXPECT_FALSE(peer_has_closed(pair.a.get()));
  ASSERT_TRUE(send_packet(pair.b.get(), bytes("last words")));
  pair.b.reset();
  EXPECT_TRUE(peer_has_closed(pair.a.get())) << "unread packets must not hide the end";
  std::array<std::byte, 64> buffer{};
  auto packet = receive_packet(pair.a.get(), buffer);
  ASSERT_TRUE(packet) << packet.error().what();
  EXPECT_EQ(packet->size, 10u);
  packet = receive_packet(pair.a.get(), buffer);
  ASSERT_TRUE(packet) << packet.error().what();
  EXPECT_EQ(packet->size, 0u);
  const auto sent = send_packet(pair.a.get(), bytes("x"));  // and no SIGPIPE
  ASSERT_FALSE(sent);
  EXPECT_EQ(sent.error().kind(), ErrorKind::kDisconnected);
}

TEST(UnixSocket, SeesThePeersProcessDie) {
  Pair pair = make_pair();
  const pid_t child = ::fork();
  ASSERT_GE(child, 0);
  if (child == 0) {
    pair.a.reset();
    for (;;) ::pause();
  }
  pair.b.reset();
  EXPECT_FALSE(peer_has_closed(pair.a.get()));
  ::kill(child, SIGKILL);
  ASSERT_EQ(::waitpid(child, nullptr, 0), child);
  EXPECT_TRUE(peer_has_closed(pair.a.get()));
}

TEST(UnixSocket, GivesUpReceivingWhenItsTimeIsOver) {
  const Pair pair = make_pair();
  std::array<std::byte, 4> buffer{};
  for (const auto timeout : {0ms, 10ms}) {
    const auto packet = receive_packet(pair.a.get(), buffer, timeout);
    ASSERT_FALSE(packet);
    EXPECT_EQ(packet.error().kind(), ErrorKind::kOverloaded);
  }
}

TEST(UnixSocket, WaitsForAPacketHoweverLongTheTimeout) {
  const Pair pair = make_pair();
  std::array<std::byte, 4> buffer{};
  // As an int of milliseconds the second one is negative.
  for (const auto timeout :
       {std::chrono::milliseconds::max(), std::chrono::milliseconds(1u << 31)}) {
    ASSERT_TRUE(send_packet(pair.b.get(), bytes("x")));
    const auto packet = receive_packet(pair.a.get(), buffer, timeout);
    ASSERT_TRUE(packet) << packet.error().what();
  }
}

TEST(UnixSocket, DoesNotWaitOnANonBlockingSocket) {
  const Pair pair = make_pair();
  ASSERT_EQ(::fcntl(pair.a.get(), F_SETFL, O_NONBLOCK), 0);
  std::array<std::byte, 4> buffer{};
  const auto packet = receive_packet(pair.a.get(), buffer);
  ASSERT_FALSE(packet);
  EXPECT_EQ(packet.error().kind(), ErrorKind::kOverloaded);
  Result<void> sent;
  for (int i = 0; i < 100'000 && sent; ++i) sent = send_packet(pair.a.get(), bytes("x"));
  ASSERT_FALSE(sent) << "a packet nobody reads was always taken";
  EXPECT_EQ(sent.error().kind(), ErrorKind::kOverloaded);
}

TEST(UnixSocket, ConnectsByAbstractName) {
  const std::string name = unique_name();
  const auto listener = listen_abstract(name, 4);
  ASSERT_TRUE(listener) << listener.error().what();
  const auto client = connect_abstract(name);
  ASSERT_TRUE(client) << client.error().what();
  const Fd server(::accept4(listener->get(), nullptr, nullptr, SOCK_CLOEXEC));
  ASSERT_TRUE(server.valid());
  const auto who = peer_credentials(server.get());
  ASSERT_TRUE(who);
  EXPECT_EQ(who->pid, ::getpid());
  EXPECT_EQ(who->uid, ::getuid());
  EXPECT_EQ(who->gid, ::getgid());
  EXPECT_NE(::fcntl(client->get(), F_GETFD) & FD_CLOEXEC, 0);
  EXPECT_NE(::fcntl(listener->get(), F_GETFD) & FD_CLOEXEC, 0);
}

TEST(UnixSocket, AllowsNamesOf1To107Bytes) {
  EXPECT_FALSE(listen_abstract("", 1));
  EXPECT_FALSE(connect_abstract(""));
  std::string name = unique_name();
  name.resize(107, 'x');
  EXPECT_TRUE(listen_abstract(name, 1));
  EXPECT_FALSE(listen_abstract(name + "x", 1));
  const auto too_long = connect_abstract(name + "x");
  ASSERT_FALSE(too_long);
  EXPECT_EQ(too_long.error().kind(), ErrorKind::kInvalid);
}

TEST(UnixSocket, RefusesANameThatIsTaken) {
  const std::string name = unique_name();
  const auto first = listen_abstract(name, 1);
  ASSERT_TRUE(first);
  const auto second = listen_abstract(name, 1);
  ASSERT_FALSE(second);
  EXPECT_EQ(second.error().system_errno(), EADDRINUSE);
}

TEST(UnixSocket, SaysThatNobodyListens) {
  const std::string name = unique_name();
  const auto client = connect_abstract(name);
  ASSERT_FALSE(client);
  EXPECT_EQ(client.error().kind(), ErrorKind::kDisconnected);
  EXPECT_NE(std::string(client.error().what()).find(name), std::string::npos);
}

TEST(UnixSocket, GivesUpConnectingToAListenerThatDoesNotAccept) {
  const std::string name = unique_name();
  const auto listener = listen_abstract(name, 0);
  ASSERT_TRUE(listener);
  std::vector<Fd> waiting;
  for (int i = 0; i < 100; ++i) {
    auto client = connect_abstract(name, 20ms);
    if (!client) {
      EXPECT_EQ(client.error().kind(), ErrorKind::kOverloaded) << client.error().what();
      return;
    }
    waiting.push_back(std::move(*client));
  }
  FAIL() << "a queue of length 0 took 100 connections";
}

extern "C" void ignore_signal(int) {}

/// Interrupts the system calls of the thread that made it, about every millisecond.
class Interrupter {
 public:
  Interrupter() : target_(::pthread_self()) {
    struct sigaction action {};
    action.sa_handler = ignore_signal;  // without SA_RESTART
    ::sigaction(SIGUSR1, &action, &before_);
    thread_ = std::thread([this] {
      while (!stop_) {
        ::pthread_kill(target_, SIGUSR1);
        ::usleep(1000);  // tidy-allow: paces the signals, nothing waits for it
      }
    });
  }
  Interrupter(const Interrupter&) = delete;
  Interrupter& operator=(const Interrupter&) = delete;
  ~Interrupter() {
    stop_ = true;
    thread_.join();
    ::sigaction(SIGUSR1, &before_, nullptr);
  }

 private:
  pthread_t target_;
  struct sigaction before_ {};
  std::atomic<bool> stop_{false};
  std::thread thread_;
};

TEST(UnixSocket, KeepsItsTimeLimitsWhenSignalsInterrupt) {
  const Pair pair = make_pair();
  const std::string name = unique_name();
  const auto listener = listen_abstract(name, 0);
  ASSERT_TRUE(listener);
  const Interrupter interrupter;
  std::array<std::byte, 4> buffer{};
  const auto start = std::chrono::steady_clock::now();
  const auto packet = receive_packet(pair.a.get(), buffer, 50ms);
  ASSERT_FALSE(packet);
  EXPECT_EQ(packet.error().kind(), ErrorKind::kOverloaded);
  std::vector<Fd> waiting;
  for (auto client = connect_abstract(name, 50ms); client; client = connect_abstract(name, 50ms)) {
    waiting.push_back(std::move(*client));
  }
  // A wait that starts anew after each signal would never end.
  const auto taken = std::chrono::steady_clock::now() - start;
  EXPECT_GE(taken, 100ms);
}

}  // namespace
}  // namespace sublet::base
