// Peers that die in the middle of large payloads, and links that are cut: a loopback interface in a
// network of the test's own, which is taken down.

#include "process.hpp"
#include "tcp_pair.hpp"
#include <transport/tcp/tcp_transport.hpp>

#include <net/if.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <sched.h>
#include <sys/ioctl.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <atomic>
#include <fstream>
#include <functional>
#include <optional>
#include <stdexcept>
#include <thread>

namespace sublet::transport::tcp {
namespace {

using namespace std::chrono_literals;
using conformance::Child;

constexpr std::size_t kMuch = 48u << 20;  ///< More than the sockets take.
/// Longer than any test waits: a peer's death must show by itself, not by its silence.
constexpr std::chrono::milliseconds kSilenceAllowed = std::chrono::minutes(10);

/// An executor's main thread in this one, which has to be told to look.
class Executor {
 public:
  explicit Executor(std::chrono::milliseconds peer_timeout = kSilenceAllowed) {
    ListenOptions options;
    options.max_arena_bytes = 2 * kMuch;
    options.peer_timeout = peer_timeout;
    listener_ = Listener::open(options, "127.0.0.1").value_or_throw();
  }
  [[nodiscard]] std::string address() const { return listener_->address(); }

  /// Serves until `done` or patience ends.
  template <class Done>
  [[nodiscard]] bool serve_until(Done&& done) {
    const auto end = std::chrono::steady_clock::now() + kTestPatience;
    while (!done()) {
      if (std::chrono::steady_clock::now() >= end) return false;
      std::vector<pollfd> fds;
      listener_->append_poll_fds(fds);
      const int timeout = listener_->poll_timeout_ms();
      ::poll(fds.data(), fds.size(), timeout < 0 ? 20 : std::min(timeout, 20));
      listener_->service([](std::uint32_t) { return true; },
                         [this](std::uint32_t, std::unique_ptr<ServerChannel> accepted) {
                           channel = std::move(accepted);
                         },
                         [this](std::uint32_t) {
                           channel->interrupt();
                           ended = true;
                         });
    }
    return true;
  }
  std::unique_ptr<ServerChannel> channel;
  bool ended = false;

 private:
  std::unique_ptr<Listener> listener_;
};

ClientChannel connect_to(const std::string& address, const std::shared_ptr<Arena>& arena,
                         std::chrono::milliseconds peer_timeout = kSilenceAllowed) {
  ConnectOptions options;
  options.address = address;
  options.peer_timeout = peer_timeout;
  return Transport::connect(options, arena).value_or_throw();
}

TEST(TcpDeath, OfAClientInALargeInputIsSeenWhileTheWorkerIsBusy) {
  // The worker does not read: the way to it is full, and the client's end cannot queue behind.
  std::unique_ptr<Child> client;
  {
    Executor executor;
    client = std::make_unique<Child>([&](Child& self) {
      const auto arena = Arena::create(kMuch).value_or_throw();
      ClientChannel channel = connect_to(executor.address(), arena);
      Ticket ticket;
      (void)channel.submit({arena->data(), kMuch, nullptr, 0, 0, false}, ticket);
      ReplyView reply;
      self.say("ready");
      (void)channel.wait(ticket, reply, base::Deadline::after(kTestPatience));
    });
    ASSERT_TRUE(executor.serve_until([&] { return executor.channel != nullptr; }));
    ASSERT_EQ(client->hear(), "ready");
    client->kill();
    ASSERT_TRUE(executor.serve_until([&] { return executor.ended; }));
  }
}

TEST(TcpDeath, OfAClientThatTakesNothingFreesAWorkerInALargeReply) {
  Executor executor;
  Child client([&](Child& self) {
    const auto arena = Arena::create(kMuch).value_or_throw();
    ClientChannel channel = connect_to(executor.address(), arena);
    Ticket ticket;
    (void)channel.submit({nullptr, 0, arena->data(), kMuch, 0, false}, ticket);
    self.say("ready");
    for (;;) ::pause();
  });
  ASSERT_TRUE(executor.serve_until([&] { return executor.channel != nullptr; }));
  ASSERT_EQ(client.hear(), "ready");
  Invocation invocation;
  ASSERT_TRUE(poll_for(*executor.channel, invocation));
  std::atomic<bool> replied{false};
  std::atomic<pid_t> thread{0};
  std::thread worker([&] {
    thread = ::gettid();
    Completion completion;
    completion.size = kMuch;
    executor.channel->complete(invocation, completion);
    replied = true;
  });
  EXPECT_TRUE(conformance::await(
      [&] { return thread != 0 && conformance::is_blocked(::getpid(), thread); }));
  EXPECT_FALSE(replied);
  client.kill();
  EXPECT_TRUE(executor.serve_until([&] { return executor.ended && replied; }));
  worker.join();
}

TEST(TcpDeath, OfAnExecutorInALargeInputEndsTheCall) {
  const auto arena = Arena::create(kMuch).value_or_throw();
  Child child([&](Child& self) {
    Executor executor;
    self.say(executor.address());
    (void)executor.serve_until([&] { return executor.channel != nullptr; });
    for (;;) ::pause();
  });
  ClientChannel client = connect_to(child.hear(), arena);
  Ticket ticket;
  ASSERT_EQ(client.submit({arena->data(), kMuch, nullptr, 0, 0, false}, ticket), Status::kOk);
  ReplyView reply;
  ASSERT_EQ(client.wait(ticket, reply, base::Deadline::after(10ms)), Status::kDeadline);
  child.kill();
  ASSERT_EQ(client.wait(ticket, reply, base::Deadline::after(kTestPatience)), Status::kOk);
  EXPECT_EQ(reply.status, Status::kLost);
}

/// The interface's only one.
void set_loopback(bool up) {
  const base::Fd socket(::socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0));
  ifreq request{};
  std::strcpy(request.ifr_name, "lo");
  if (::ioctl(socket.get(), SIOCGIFFLAGS, &request) != 0) throw std::runtime_error("no lo");
  if (up) {
    request.ifr_flags = static_cast<short>(request.ifr_flags | IFF_UP);
  } else {
    request.ifr_flags = static_cast<short>(request.ifr_flags & ~IFF_UP);
  }
  if (::ioctl(socket.get(), SIOCSIFFLAGS, &request) != 0) throw std::runtime_error("lo is fixed");
}

/// Runs `body` in a process with a network of its own; it says "good", what is wrong, or "skip".
std::string in_own_network(const std::function<std::string()>& body) {
  Child child([&](Child& self) {
    if (::unshare(CLONE_NEWUSER | CLONE_NEWNET) != 0 && ::unshare(CLONE_NEWNET) != 0) {
      self.say("skip");
      return;
    }
    set_loopback(true);
    self.say(body());
  });
  return child.hear();
}

constexpr auto kShort = 1000ms;

/// A call that is cut off in some state: submitted by `before`, then the link is cut, then `after`.
struct CutCall {
  std::shared_ptr<Arena> arena = Arena::create(kMuch).value_or_throw();
  Executor executor{kShort};
  ClientChannel client = make_client();
  Ticket ticket;
  ReplyView reply;

  ClientChannel make_client() {
    std::optional<ClientChannel> made;
    std::thread connecting([&] { made = connect_to(executor.address(), arena, kShort); });
    const bool served = executor.serve_until([&] { return executor.channel != nullptr; });
    connecting.join();
    if (!served || !made) throw std::runtime_error("not connected");
    return std::move(*made);
  }
  void submit(std::uint64_t in_size) {
    if (client.submit({arena->data(), in_size, nullptr, 0, 0, false}, ticket) != Status::kOk) {
      throw std::runtime_error("not submitted");
    }
  }
  std::string expect_lost() {
    if (client.wait(ticket, reply, base::Deadline::after(kTestPatience)) != Status::kOk) {
      return "the call goes on without a link";
    }
    if (reply.status != Status::kLost) return "the call did not end as lost";
    return "good";
  }
};

#define EXPECT_GOOD(result)                                                 \
  do {                                                                      \
    const std::string said = (result);                                      \
    if (said == "skip") GTEST_SKIP() << "this user may not make a network"; \
    EXPECT_EQ(said, "good");                                                \
  } while (false)

std::string congestion_control_of(const base::Fd& socket) {
  std::array<char, 16> name{};
  socklen_t size = name.size();
  ::getsockopt(socket.get(), IPPROTO_TCP, TCP_CONGESTION, name.data(), &size);
  return name.data();
}

TEST(TcpLink, IsNotPacedByATimerWhereTheSystemWouldPaceIt) {
  EXPECT_GOOD(in_own_network([] {
    // Of this network alone.
    std::ofstream setting("/proc/sys/net/ipv4/tcp_congestion_control");
    if (!(setting << "bbr" << std::flush)) return std::string("skip");
    const auto [one, other] = connected_sockets();
    const std::string both = congestion_control_of(one) + " " + congestion_control_of(other);
    return both == "cubic cubic" || both == "reno reno" ? std::string("good") : both;
  }));
}

TEST(TcpLink, CutWhileACallRunsLosesIt) {
  EXPECT_GOOD(in_own_network([] {
    CutCall call;
    call.submit(8);
    Invocation invocation;
    if (!poll_for(*call.executor.channel, invocation)) return std::string("no request");
    set_loopback(false);
    return call.expect_lost();
  }));
}

TEST(TcpLink, CutBeforeACallIsSentLosesIt) {
  EXPECT_GOOD(in_own_network([] {
    CutCall call;
    set_loopback(false);
    call.submit(8);
    return call.expect_lost();
  }));
}

TEST(TcpLink, CutWhileTheWorkerDoesNotReadLosesTheCall) {
  EXPECT_GOOD(in_own_network([] {
    CutCall call;
    call.submit(kMuch);
    if (call.client.wait(call.ticket, call.reply, base::Deadline::after(300ms)) !=
        Status::kDeadline) {
      return std::string("nobody was to answer");
    }
    set_loopback(false);
    return call.expect_lost();
  }));
}

TEST(TcpLink, CutIsSeenByTheExecutor) {
  EXPECT_GOOD(in_own_network([] {
    CutCall call;
    set_loopback(false);
    return std::string(call.executor.serve_until([&] { return call.executor.ended; })
                           ? "good"
                           : "the executor keeps the client");
  }));
}

TEST(TcpLink, CutWithAReplyOnItsWayIsSeenByTheExecutor) {
  EXPECT_GOOD(in_own_network([] {
    CutCall call;
    call.submit(8);
    Invocation invocation;
    if (!poll_for(*call.executor.channel, invocation)) return std::string("no request");
    set_loopback(false);
    call.executor.channel->complete(invocation, {});
    return std::string(call.executor.serve_until([&] { return call.executor.ended; })
                           ? "good"
                           : "the executor keeps the client");
  }));
}

TEST(TcpLink, IsNotTakenForCutWhenTheWorkerOnlyDoesNotRead) {
  // For longer than the peer's time, with more on its way than the sockets hold.
  const auto arena = Arena::create(kMuch).value_or_throw();
  Executor executor(kShort);
  std::optional<ClientChannel> client;
  std::thread connecting([&] { client = connect_to(executor.address(), arena, kShort); });
  EXPECT_TRUE(executor.serve_until([&] { return executor.channel != nullptr; }));
  connecting.join();
  ASSERT_TRUE(client);
  Ticket ticket;
  ASSERT_EQ(client->submit({arena->data(), kMuch, nullptr, 0, 0, false}, ticket), Status::kOk);
  ReplyView reply;
  ASSERT_EQ(client->wait(ticket, reply, base::Deadline::after(3 * kShort)), Status::kDeadline);
  EXPECT_TRUE(client->check_peer());
  std::thread worker([&] {
    Invocation invocation;
    if (poll_for(*executor.channel, invocation)) executor.channel->complete(invocation, {});
  });
  EXPECT_EQ(client->wait(ticket, reply, base::Deadline::after(kTestPatience)), Status::kOk);
  EXPECT_EQ(reply.status, Status::kOk) << reply.error;
  worker.join();
}

}  // namespace
}  // namespace sublet::transport::tcp
