#include <base/host_port.hpp>

#include <gtest/gtest.h>

#include <string>
#include <utility>
#include <vector>

namespace sublet::base {
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
  good("*:0", "*", 0);
}

TEST(HostPort, RefusesWhatNamesNoHostOrNoPort) {
  const std::vector<std::pair<std::string, std::string>> wrong = {
      {"", "port is missing"},
      {"node7", "port is missing"},
      {"[::1]", "port is missing"},
      {":", "host is empty"},
      {":80", "host is empty"},
      {"[]:80", "host is empty"},
      {"::1:80", "needs brackets"},
      {"[::1:80", "needs brackets"},
      {"a]:80", "not a host name"},
      {"a host:80", "not a host name"},
      {std::string("a\0b:80", 6), "not a host name"},
      {"node7:", "not a number"},
      {"node7:65536", "not a number"},
      {"node7:8x", "not a number"},
      {"node7:-1", "not a number"},
      {"node7:+1", "not a number"},
      {"node7: 1", "not a number"},
      {"10.0.2.15:123456789012345678901234567890", "not a number"},
  };
  for (const auto& [text, why] : wrong) {
    const auto parsed = HostPort::parse(text);
    ASSERT_FALSE(parsed) << text;
    EXPECT_EQ(parsed.error().kind(), ErrorKind::kInvalid);
    EXPECT_NE(std::string(parsed.error().what()).find(why), std::string::npos)
        << parsed.error().what();
  }
  std::string long_name(256, 'h');
  long_name += ":80";
  EXPECT_FALSE(HostPort::parse(long_name));
}

TEST(SplitList, LeavesEmptyItemsOut) {
  EXPECT_EQ(split_list(""), std::vector<std::string>{});
  EXPECT_EQ(split_list(",,"), std::vector<std::string>{});
  EXPECT_EQ(split_list("a"), std::vector<std::string>{"a"});
  EXPECT_EQ(split_list(",a,,b,"), (std::vector<std::string>{"a", "b"}));
}

}  // namespace
}  // namespace sublet::base
