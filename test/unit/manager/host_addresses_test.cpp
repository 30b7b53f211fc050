#include <common/host_addresses.hpp>

#include <arpa/inet.h>
#include <gtest/gtest.h>
#include <netinet/in.h>

#include <algorithm>

namespace sublet::manager {
namespace {

std::string host_of(const char* v6) {
  sockaddr_in6 address{};
  address.sin6_family = AF_INET6;
  ::inet_pton(AF_INET6, v6, &address.sin6_addr);
  return numeric_host(reinterpret_cast<const sockaddr*>(&address), sizeof(address));
}

TEST(HostAddresses, ShowIpv4PeersOfIpv6SocketsAsIpv4) {
  EXPECT_EQ(host_of("::ffff:10.2.0.1"), "10.2.0.1");
  EXPECT_EQ(host_of("fd02::1"), "fd02::1");
}

TEST(HostAddresses, KnowWhichAreForThisNodeAlone) {
  for (const char* host : {"127.0.0.1", "127.0.1.1", "::1"}) EXPECT_TRUE(is_loopback(host));
  for (const char* host : {"10.127.0.1", "::", "localhost"}) EXPECT_FALSE(is_loopback(host));
  for (const char* host : {"*", "::", "0.0.0.0"}) EXPECT_TRUE(is_every_interface(host));
}

TEST(HostAddresses, OfTheNetworkAreNoLoopbacks) {
  for (const std::string& host : network_addresses()) {
    EXPECT_FALSE(is_loopback(host)) << host;
    EXPECT_EQ(host.find('%'), std::string::npos) << host;
  }
}

TEST(HostAddresses, ThatAreAdvertisedHaveNoPorts) {
  const auto hosts = advertised_hosts({"node7", "10.2.0.1", "fd02::1", "[fd02::2]"});
  ASSERT_TRUE(hosts) << hosts.error().what();
  EXPECT_EQ(*hosts, (std::vector<std::string>{"node7", "10.2.0.1", "fd02::1", "fd02::2"}));
  for (const char* bad : {"node7:80", "*", "::", "", "a b", "tcp:node7"}) {
    const auto refused = advertised_hosts({bad});
    ASSERT_FALSE(refused) << bad;
    EXPECT_NE(std::string(refused.error().what()).find("--advertise"), std::string::npos);
  }
}

}  // namespace
}  // namespace sublet::manager
