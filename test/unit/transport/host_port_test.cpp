#include <transport/common/host_port.hpp>
#include <transport/common/tcp_socket.hpp>

#include <gtest/gtest.h>

#include <string>
#include <vector>

namespace sublet::transport {
namespace {

TEST(HostPort, IsReadFromTextAndWritten) {
  const auto good = [](const std::string& text, const std::string& host, std::uint16_t port) {
    const auto parsed = HostPort::parse(text);
    ASSERT_TRUE(parsed) << text;
    EXPECT_EQ(parsed->host, host);
    EXPECT_EQ(parsed->port, port);
    EXPECT_EQ(parsed->to_string(), text);
  };
  good("node7:4711", "node7", 4711);
  good("10.0.0.7:1", "10.0.0.7", 1);
  good("[::1]:65535", "::1", 65535);
  good("[fe80::1%eth0]:80", "fe80::1%eth0", 80);
}

TEST(HostPort, RefusesWhatNamesNoHostOrNoPort) {
  for (const std::string bad : {"", ":", "node7", "node7:", ":80", "*:80", "::1:80", "node7:65536",
                                "node7:8x", "node7:-1", "node7:+1", "node7: 1", "[::1]", "[]:80",
                                "[::1:80", "a]:80", "10.0.2.15:123456789012345678901234567890"}) {
    const auto parsed = HostPort::parse(bad);
    ASSERT_FALSE(parsed) << bad;
    EXPECT_EQ(parsed.error().kind(), ErrorKind::kInvalid);
    EXPECT_NE(std::string(parsed.error().what()).find("'" + bad + "'"), std::string::npos);
  }
}

TEST(SplitList, LeavesEmptyItemsOut) {
  EXPECT_EQ(split_list(""), std::vector<std::string>{});
  EXPECT_EQ(split_list(",,"), std::vector<std::string>{});
  EXPECT_EQ(split_list("a"), std::vector<std::string>{"a"});
  EXPECT_EQ(split_list(",a,,b,"), (std::vector<std::string>{"a", "b"}));
}

TEST(SocketAddress, IsMadeOfNumbersOnly) {
  for (const std::string host : {"10.0.2.15", "fd00::1", "::", "0.0.0.0"}) {
    auto address = SocketAddress::numeric(host, 4711);
    ASSERT_TRUE(address) << host;
    EXPECT_EQ(host_text(address->get(), address->size), host);
  }
  for (const std::string host : {"", "localhost", "rxe0", "[fd00::1]", "10.0.2.15:4711"}) {
    EXPECT_FALSE(SocketAddress::numeric(host, 1)) << host;
  }
}

}  // namespace
}  // namespace sublet::transport
