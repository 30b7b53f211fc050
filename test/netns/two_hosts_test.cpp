#include "support/two_hosts.hpp"

#include "support/child_process.hpp"

#include <arpa/inet.h>
#include <gtest/gtest.h>
#include <net/if.h>
#include <netinet/in.h>
#include <poll.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

#include <chrono>
#include <filesystem>
#include <thread>

// The fixture itself: bytes pass between the two hosts, not while the cable is out, and again
// when it is back; and nothing of it is left behind.

namespace sublet::test {
namespace {

using namespace std::chrono_literals;
using base::Fd;

constexpr int kPatienceMs = 30'000;
/// How long nothing must arrive: many round trips, and a resend or two.
constexpr int kSilenceMs = 500;

sockaddr_in address_of(const char* host, std::uint16_t port_be) {
  sockaddr_in address{};
  address.sin_family = AF_INET;
  address.sin_port = port_be;
  ::inet_pton(AF_INET, host, &address.sin_addr);
  return address;
}

/// A TCP connection from the first host to the second.
struct Connection {
  Fd first;
  Fd second;
};

Connection connect(const TwoHosts& hosts) {
  auto address = address_of(TwoHosts::kSecondAddress, 0);
  socklen_t size = sizeof(address);
  auto* const generic = reinterpret_cast<sockaddr*>(&address);
  const Fd listener =
      hosts.as_second([] { return Fd(::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0)); });
  EXPECT_EQ(::bind(listener.get(), generic, size), 0);
  EXPECT_EQ(::listen(listener.get(), 1), 0);
  EXPECT_EQ(::getsockname(listener.get(), generic, &size), 0);
  Connection connection;
  connection.first = Fd(::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0));
  EXPECT_EQ(::connect(connection.first.get(), generic, size), 0);
  connection.second = Fd(::accept(listener.get(), nullptr, nullptr));
  EXPECT_TRUE(connection.second.valid());
  return connection;
}

bool readable(const Fd& fd, int limit_ms) {
  pollfd entry{fd.get(), POLLIN, 0};
  return ::poll(&entry, 1, limit_ms) == 1;
}

char read_one(const Fd& fd) {
  char byte = 0;
  if (!readable(fd, kPatienceMs) || ::read(fd.get(), &byte, 1) != 1) return 0;
  return byte;
}

ino_t own_network() {
  struct stat status {};
  ::stat("/proc/thread-self/ns/net", &status);
  return status.st_ino;
}

TEST(TwoHosts, PassBytesExceptWhileTheCableIsOut) {
  std::string why_not;
  const auto hosts = TwoHosts::make(why_not);
  if (!hosts) GTEST_SKIP() << why_not;
  const Connection connection = connect(*hosts);
  ASSERT_EQ(::write(connection.first.get(), "a", 1), 1);
  ASSERT_EQ(read_one(connection.second), 'a');

  hosts->cut();
  ASSERT_EQ(::write(connection.first.get(), "b", 1), 1) << "the first host must not know";
  EXPECT_FALSE(readable(connection.second, kSilenceMs));

  hosts->restore();
  EXPECT_EQ(read_one(connection.second), 'b');
}

TEST(TwoHosts, HaveNothingOfTheNetworkInCommon) {
  std::string why_not;
  const auto hosts = TwoHosts::make(why_not);
  if (!hosts) GTEST_SKIP() << why_not;
  const ino_t first = own_network();
  EXPECT_NE(hosts->as_second([] { return own_network(); }), first);
  EXPECT_EQ(own_network(), first) << "the thread has to come back";

  // As another process sees it.
  ChildProcess there(
      hosts->on_second({"/bin/sh", "-c",
                        "test \"$(stat -Lc %i /proc/self/ns/net)\" != " + std::to_string(first)}),
      {});
  EXPECT_EQ(there.wait(30s), 0);
  ChildProcess here(
      {"/bin/sh", "-c", "test \"$(stat -Lc %i /proc/self/ns/net)\" = " + std::to_string(first)},
      {});
  EXPECT_EQ(here.wait(30s), 0);
}

TEST(TwoHosts, LetTheThreadGoHome) {
  if (::geteuid() != 0) GTEST_SKIP() << "there is no way back without root";
  const ino_t home = own_network();
  std::string why_not;
  auto hosts = TwoHosts::make(why_not);
  if (!hosts) GTEST_SKIP() << why_not;
  EXPECT_NE(own_network(), home);
  hosts.reset();
  EXPECT_EQ(own_network(), home);
}

}  // namespace
}  // namespace sublet::test
